//! The format of an entry: Wasmtime's image, followed by 40 bytes with its hash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::key::Key;

/// The last bytes of each entry.
const MAGIC: &[u8; 8] = b"unitd-1\n";

const END: usize = 32 + MAGIC.len();

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("too short ({0} bytes)")]
    Short(u64),
    #[error("not an entry, or truncated")]
    NoEnd,
    #[error("damaged or misnamed")]
    Content,
    #[error("{0}")]
    Read(#[from] io::Error),
}

/// The bytes that follow an image.
pub(crate) fn end(key: &Key, image: &[u8]) -> [u8; END] {
    let mut hasher = hasher(key);
    hasher.update(image);
    let mut end = [0; END];
    let (hash, magic) = end.split_at_mut(32);
    hash.copy_from_slice(hasher.finalize().as_bytes());
    magic.copy_from_slice(MAGIC);
    end
}

/// Reads an entry completely, and checks its hash.
///
/// # Errors
///
/// When it is not what was written under this key.
pub(crate) fn verify(entry: &File, key: &Key) -> Result<(), Damage> {
    let length = entry.metadata()?.len();
    let Some(image) = length.checked_sub(END as u64) else {
        return Err(Damage::Short(length));
    };
    let mut end = [0; END];
    entry.read_exact_at(&mut end, image)?;
    let (hash, magic) = end.split_at(32);
    if magic != MAGIC {
        return Err(Damage::NoEnd);
    }
    let mut hasher = hasher(key);
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < image {
        let length = PIECE.min(usize::try_from(image - at).unwrap_or(PIECE));
        entry.read_exact_at(&mut piece[..length], at)?;
        hasher.update(&piece[..length]);
        at += length as u64;
    }
    if hasher.finalize().as_bytes() == hash {
        Ok(())
    } else {
        Err(Damage::Content)
    }
}

fn hasher(key: &Key) -> blake3::Hasher {
    blake3::Hasher::new_keyed(key.bytes())
}

//! Reading a component's file, and recognising what is not a component before it is compiled.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::component::error::{LoadError, LoadReason, MAX_FILE};

/// The content of a component's file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Source {
    /// Takes the bytes of a component in the binary format that do not come from a file. `name` stands for the
    /// path in messages.
    ///
    /// # Errors
    ///
    /// When the bytes do not start like a component.
    pub fn from_bytes(name: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<Self, LoadError> {
        let path = name.into();
        match classify(&bytes, &path) {
            Ok(()) => Ok(Self { path, bytes }),
            Err(reason) => Err(reason.of(&path)),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, has more than 256 MiB, or does not start like a component. Each message starts
    /// with the path.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = read(path).and_then(|bytes| {
            classify(&bytes, path)?;
            Ok(bytes)
        });
        Ok(Self {
            bytes: bytes.map_err(|reason| reason.of(path))?,
            path: path.to_owned(),
        })
    }

    /// The path that was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadReason> {
    // Checked before opening, since opening a device may have effects, and again afterwards: a named pipe may have
    // taken the file's place, on which opening would block without `NONBLOCK`.
    if !fs::metadata(path)?.is_file() {
        return Err(LoadReason::NotAFile);
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(LoadReason::NotAFile);
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_FILE) as usize);
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(LoadReason::TooLarge(metadata.len()));
    }
    Ok(bytes)
}

/// Recognises what people deploy in place of a component, for a message that helps.
fn classify(bytes: &[u8], path: &Path) -> Result<(), LoadReason> {
    // After the magic number: a version, then the layer (0: module, 1: component).
    match bytes {
        [] => Err(LoadReason::Empty),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadReason::CoreModule(path.to_owned())),
        [0x7f, b'E', b'L', b'F', ..] => Err(LoadReason::Precompiled),
        _ if bytes.trim_ascii_start().starts_with(b"(") => Err(LoadReason::Text),
        _ => Err(LoadReason::NotWasm(
            bytes[..bytes.len().min(8)].escape_ascii().to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        classify(bytes, Path::new("a.wasm"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn files_that_are_not_components_are_refused_by_what_they_are() {
        assert!(refused(b"").contains("is empty"));
        assert!(refused(b"\0asm\x01\0\0\0").contains("is a core module"));
        assert!(refused(b"\0asm\x01\0\0\0").contains("wasm-tools component new a.wasm"));
        assert!(refused(b"\x7fELF\x02").contains("is an ELF file"));
        assert!(refused(b"\n (component)").contains("is WebAssembly text"));
        assert!(refused(b"#!/bin/sh\n\xff").contains("starts with #!/bin/s"));
        assert!(refused(b"\0asm").contains("is not a WebAssembly component"));
        assert!(classify(b"\0asm\x0d\0\x01\0", Path::new("a.wasm")).is_ok());
    }
}

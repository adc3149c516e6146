//! The folders that guests are to see.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::Folder;

/// The server's own folders, and all that is in them.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    /// With its configuration and machine code: no guest may write there.
    pub(crate) trusted: Vec<PathBuf>,
    /// With private keys: no guest may look there.
    pub(crate) secret: Vec<PathBuf>,
}

/// A folder that guests cannot have.
#[derive(Debug)]
pub(crate) struct FolderError {
    /// Which of an application's folders it is.
    pub(crate) index: usize,
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Unusable(io::Error),
    /// With it a guest could write to this one.
    Trusted(PathBuf),
    /// With it a guest could read this one.
    Secret(PathBuf),
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Unusable(error) => write!(f, "the folder {path} cannot be used: {error}"),
            Why::Secret(own) => write!(
                f,
                "with the folder {path} guests could read the private keys in {}",
                own.display()
            ),
            Why::Trusted(own) => write!(
                f,
                "with the folder {path} guests could write to {}, which the server trusts; it can only \
                 be read_only",
                own.display()
            ),
        }
    }
}

/// Whether all of them are folders that this process may look into, and none lets guests into those that
/// are guarded.
pub(crate) fn check(folders: &[Folder], guarded: &Guarded) -> Result<(), FolderError> {
    for (index, folder) in folders.iter().enumerate() {
        check_one(folder, guarded).map_err(|why| FolderError {
            index,
            path: folder.path.clone(),
            why,
        })?;
    }
    Ok(())
}

fn check_one(folder: &Folder, guarded: &Guarded) -> Result<(), Why> {
    // The dot is what asks for a folder, and for the right to go into it. Nothing is opened,
    // so nothing can block as a pipe would.
    fs::metadata(folder.path.join(".")).map_err(Why::Unusable)?;
    let path = resolved(&folder.path);
    let reached = |own: &[PathBuf]| {
        let mut own = own.iter();
        own.find(|own| {
            let own = resolved(own);
            own.starts_with(&path) || path.starts_with(&own)
        })
        .cloned()
    };
    if let Some(secret) = reached(&guarded.secret) {
        return Err(Why::Secret(secret));
    }
    if folder.read_only {
        return Ok(());
    }
    reached(&guarded.trusted).map_or(Ok(()), |own| Err(Why::Trusted(own)))
}

/// The path without symbolic links, as far as it is there.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(resolved), ..) => resolved,
        (Err(_), Some(parent), Some(name)) => resolved(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

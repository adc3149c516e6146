//! Checks the folders that guests get (`access.filesystem`) against the server's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::Folder;

/// The server's own folders, with all below them.
#[derive(Debug, Default)]
pub(crate) struct GuardedFolders {
    /// Configuration and machine code: guests must not write there.
    pub(crate) trusted: Vec<PathBuf>,
    /// Private keys: guests must not read there.
    pub(crate) secret: Vec<PathBuf>,
}

/// A folder that guests must not get, or that cannot be used.
#[derive(Debug)]
pub(crate) struct FolderError {
    /// Its index in `access.filesystem`.
    pub(crate) index: usize,
    path: PathBuf,
    why: FolderProblem,
}

#[derive(Debug)]
enum FolderProblem {
    Unusable(io::Error),
    /// Guests could write to this folder of the server.
    Trusted(PathBuf),
    /// Guests could read this folder of the server.
    Secret(PathBuf),
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.why {
            FolderProblem::Unusable(error) => {
                write!(f, "the folder {path} cannot be used: {error}")
            }
            FolderProblem::Secret(own) => write!(
                f,
                "with the folder {path} guests could read the private keys in {}",
                own.display()
            ),
            FolderProblem::Trusted(own) => write!(
                f,
                "with the folder {path} guests could write to {}, which the server trusts; it has to \
                 be read_only",
                own.display()
            ),
        }
    }
}

/// Checks that all are folders that this process may enter, and that none gives guests access to guarded ones.
pub(crate) fn check(folders: &[Folder], guarded: &GuardedFolders) -> Result<(), FolderError> {
    for (index, folder) in folders.iter().enumerate() {
        check_one(folder, guarded).map_err(|why| FolderError {
            index,
            path: folder.path.clone(),
            why,
        })?;
    }
    Ok(())
}

fn check_one(folder: &Folder, guarded: &GuardedFolders) -> Result<(), FolderProblem> {
    // The dot makes `stat` fail for anything but a folder that may be entered. Nothing is opened, so that a pipe does
    // not block.
    fs::metadata(folder.path.join(".")).map_err(FolderProblem::Unusable)?;
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
        return Err(FolderProblem::Secret(secret));
    }
    if folder.read_only {
        return Ok(());
    }
    reached(&guarded.trusted).map_or(Ok(()), |own| Err(FolderProblem::Trusted(own)))
}

/// The path with symlinks resolved, in the part of it that exists.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(resolved), ..) => resolved,
        (Err(_), Some(parent), Some(name)) => resolved(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

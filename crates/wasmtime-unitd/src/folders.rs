//! The folders that guests are to see.

use std::fs;
use std::io;
use std::path::PathBuf;

use config::Folder;

/// A folder that cannot be used as one.
#[derive(Debug)]
pub(crate) struct FolderError {
    /// Which of an application's folders it is.
    pub(crate) index: usize,
    path: PathBuf,
    error: io::Error,
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        write!(f, "the folder {path} cannot be used: {}", self.error)
    }
}

/// Whether all of them are folders that this process may look into.
pub(crate) fn check(folders: &[Folder]) -> Result<(), FolderError> {
    for (index, Folder { path, .. }) in folders.iter().enumerate() {
        // The dot is what asks for a folder, and for the right to go into it. Nothing is opened,
        // so nothing can block as a pipe would.
        fs::metadata(path.join(".")).map_err(|error| FolderError {
            index,
            path: path.clone(),
            error,
        })?;
    }
    Ok(())
}

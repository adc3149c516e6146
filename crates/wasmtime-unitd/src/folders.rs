//! The folders that guests are to see.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::Folder;

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
    Own(PathBuf),
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Unusable(error) => write!(f, "the folder {path} cannot be used: {error}"),
            Why::Own(own) => write!(
                f,
                "with the folder {path} guests could write to {}, which the server trusts; it can only \
                 be read_only",
                own.display()
            ),
        }
    }
}

/// Whether all of them are folders that this process may look into, and none lets guests write to those
/// that the server itself keeps its configuration and machine code in, `own`.
pub(crate) fn check(folders: &[Folder], own: &[PathBuf]) -> Result<(), FolderError> {
    for (index, folder) in folders.iter().enumerate() {
        check_one(folder, own).map_err(|why| FolderError {
            index,
            path: folder.path.clone(),
            why,
        })?;
    }
    Ok(())
}

fn check_one(folder: &Folder, own: &[PathBuf]) -> Result<(), Why> {
    // The dot is what asks for a folder, and for the right to go into it. Nothing is opened,
    // so nothing can block as a pipe would.
    fs::metadata(folder.path.join(".")).map_err(Why::Unusable)?;
    if folder.read_only {
        return Ok(());
    }
    let path = resolved(&folder.path);
    let reached = own.iter().find(|own| {
        let own = resolved(own);
        own.starts_with(&path) || path.starts_with(&own)
    });
    reached.map_or(Ok(()), |own| Err(Why::Own(own.clone())))
}

/// The path without symbolic links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(resolved), ..) => resolved,
        (Err(_), Some(parent), Some(name)) => resolved(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

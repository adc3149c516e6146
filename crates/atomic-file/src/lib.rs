//! A file that is replaced whole or not at all.
//!
//! ```text
//! make the temporary file ─▶ write ─▶ sync ─▶ rename over the file ─▶ sync the folder
//! └──────────── the old content is in place ───────────┘└──── the new content is ────┘
//! ```
//!
//! Whenever the machine stops, the file has the old or the new content. What a crash leaves behind
//! is the temporary file, which [`AtomicFile::clean`] removes, and which the next write replaces.
//!
//! This crate locks nothing: two writers of one file have to keep each other out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// These files hold private keys and configurations: only their owner reads them.
const FILE_MODE: u32 = 0o600;

/// Where a file is, and where its next content is written to first. All calls block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtomicFile {
    folder: PathBuf,
    path: PathBuf,
    temporary: PathBuf,
}

impl AtomicFile {
    /// The file `name` in `folder`, by way of the file `temporary` in the same folder. Nothing is
    /// touched yet.
    pub fn new(folder: impl Into<PathBuf>, name: &str, temporary: &str) -> Self {
        let folder = folder.into();
        Self {
            path: folder.join(name),
            temporary: folder.join(temporary),
            folder,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file, or creates it. Its mode is 0600.
    ///
    /// # Errors
    ///
    /// The old content is still there, untouched.
    pub fn write(&self, content: &[u8]) -> Result<Written, WriteError> {
        let written = self.write_in_steps(content, &mut |_| Ok(()));
        if written.is_err() {
            // What cannot be removed now is removed at the next write or start.
            let _ = self.clean();
        }
        written
    }

    /// The steps of a write. `before` is called before each; an error from it stops there and
    /// leaves everything as it is, as a crash or a failing disk would. For tests.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and what `before` returns.
    pub fn write_in_steps(
        &self,
        content: &[u8],
        before: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<Written, WriteError> {
        self.clean()?;
        let mut file = before(Step::Create)
            .and_then(|()| {
                let mut options = OpenOptions::new();
                options
                    .write(true)
                    .create_new(true)
                    .mode(FILE_MODE)
                    .open(&self.temporary)
            })
            .map_err(error("create", &self.temporary))?;
        before(Step::Write)
            .and_then(|()| file.write_all(content))
            .map_err(error("write", &self.temporary))?;
        // Without this, the rename may reach the disk before the content does.
        before(Step::Sync)
            .and_then(|()| file.sync_all())
            .map_err(error("sync", &self.temporary))?;
        before(Step::Rename)
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(error("replace", &self.path))?;
        let synced = before(Step::SyncFolder)
            .and_then(|()| sync_folder(&self.folder))
            .map_err(error("sync", &self.folder));
        Ok(synced.map_or_else(Written::NotSynced, |()| Written::Synced))
    }

    /// Removes what a crash has left behind, if there is anything.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn clean(&self) -> Result<(), WriteError> {
        match fs::remove_file(&self.temporary) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(error("remove", &self.temporary)(source))
            }
            _ => Ok(()),
        }
    }
}

/// A file that has its new content.
#[derive(Debug)]
pub enum Written {
    /// It survives a loss of power.
    Synced,
    /// It is in place and survives the process; the folder could not be synced, so after a loss of
    /// power the old content may be back.
    NotSynced(WriteError),
}

/// What a write consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the temporary file.
    Create,
    /// Write the content.
    Write,
    /// Sync the file.
    Sync,
    /// Rename it over the old file.
    Rename,
    /// Sync the folder.
    SyncFolder,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::SyncFolder,
    ];
}

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} \"{}\": {source}", path.display())]
pub struct WriteError {
    /// The operation, as in `cannot {action}`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// Syncs a folder, so that created, renamed and removed files survive a loss of power.
///
/// # Errors
///
/// When the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_crash_before_any_step_leaves_the_old_or_the_new_content_whole() {
        for crash in Step::ALL {
            let folder = tempfile::tempdir().unwrap();
            let file = AtomicFile::new(folder.path(), "file", "file.tmp");
            file.write(b"old").unwrap();
            let _ = file.write_in_steps(b"new", &mut |step| {
                if step == crash {
                    Err(io::Error::other("crash"))
                } else {
                    Ok(())
                }
            });
            let wanted: &[u8] = if crash == Step::SyncFolder {
                b"new"
            } else {
                b"old"
            };
            assert_eq!(fs::read(file.path()).unwrap(), wanted, "{crash:?}");
            file.clean().unwrap();
            assert_eq!(names(folder.path()), ["file"], "{crash:?}");
        }
    }

    #[test]
    fn a_failure_to_sync_the_folder_is_reported_and_the_write_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::new(folder.path(), "file", "file.tmp");
        let written = file.write_in_steps(b"new", &mut |step| match step {
            Step::SyncFolder => Err(io::Error::other("no sync")),
            _ => Ok(()),
        });
        assert!(matches!(written, Ok(Written::NotSynced(_))));
        assert_eq!(fs::read(file.path()).unwrap(), b"new");
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("file")).unwrap();
        let file = AtomicFile::new(folder.path(), "file", "file.tmp");
        let error = file.write(b"new").unwrap_err().to_string();
        assert!(error.starts_with("cannot replace \""), "{error}");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn only_the_owner_can_read_a_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::new(folder.path(), "file", "file.tmp");
        fs::write(file.path(), "readable by all").unwrap();
        file.write(b"new").unwrap();
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
    }
}

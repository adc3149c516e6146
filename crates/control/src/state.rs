//! The state directory: the configuration on disk.
//!
//! `conf.json`, which is Unit's name for it, is an [`AtomicFile`]: after a crash it is either the old or the new one,
//! complete. A lock on `conf.json.lock` excludes a second process; the system releases it when the process ends.
//! Certificates are in `certs`, see [`Store`].

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atomic_file::{AtomicFile, WriteError, Written};
use certificates::{Store, StoreError};
use config::{JsonError, Value};
use thiserror::Error;

const CONFIGURATION: &str = "conf.json";
const TEMPORARY: &str = "conf.json.tmp";
const LOCK: &str = "conf.json.lock";
const REJECTED: &str = "conf.json.rejected";
/// The certificates' folder in a state directory, which is Unit's name for it.
pub const CERTIFICATES: &str = "certs";

/// Private: the environment of an application may contain secrets.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A state directory, in exclusive use by this process.
///
/// All calls block; [`Control`](crate::Control) makes them on [`BlockingThreads`](crate::BlockingThreads).
#[derive(Debug)]
pub struct StateDir {
    directory: PathBuf,
    certificates: Arc<Store>,
    /// Locked until this is dropped.
    _lock: File,
}

impl StateDir {
    /// Opens a state directory, locks it, and removes temporary files that a crash has left. A missing one is created
    /// with its parents (mode 0700). Invalid certificates are logged and ignored.
    ///
    /// # Errors
    ///
    /// [`StateError::InUse`] if another process has it; [`StateError::Io`] if it
    /// cannot be created, locked or cleaned; [`StateError::Certificates`] if their
    /// folder cannot be created or read.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StateError> {
        let directory = directory.into();
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&directory)
            .map_err(io_error("create", &directory))?;
        let path = directory.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse(directory)),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
        let (certificates, damaged) = Store::open(directory.join(CERTIFICATES))?;
        for damaged in damaged {
            tracing::error!("{damaged}");
        }
        let state = Self {
            directory,
            certificates: Arc::new(certificates),
            _lock: lock,
        };
        state.file().clean()?;
        Ok(state)
    }

    /// The file that holds the configuration.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.directory.join(CONFIGURATION)
    }

    /// The directory and the files that this process writes to, whether they exist yet or not: those that have to
    /// belong to the user that the server switches to.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![
            self.directory.clone(),
            self.directory.join(LOCK),
            self.configuration(),
        ];
        paths.extend(self.certificates.paths());
        paths
    }

    /// The certificates, which only the control API changes.
    #[must_use]
    pub fn certificates(&self) -> &Arc<Store> {
        &self.certificates
    }

    /// Whether no configuration was ever persisted here. One that was [set aside](Self::set_aside), or cannot be read,
    /// counts as persisted, and so does an empty one.
    #[must_use]
    pub fn is_new(&self) -> bool {
        // Not `exists`, which follows symlinks, and takes an error for "no".
        let is_missing = |name| {
            let found = self.directory.join(name).symlink_metadata();
            found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        is_missing(CONFIGURATION) && is_missing(REJECTED)
    }

    /// The persisted configuration, unchecked. `None` if nothing was persisted.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not JSON.
    pub fn load(&self) -> Result<Option<Value>, LoadError> {
        let path = self.configuration();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LoadError::Read(io_error("read", &path)(error))),
        };
        config::parse(&text)
            .map(Some)
            .map_err(|error| LoadError::Json { path, error })
    }

    /// Persists a configuration.
    ///
    /// # Errors
    ///
    /// The old configuration is still there, untouched.
    pub fn save(&self, configuration: &Value) -> Result<Saved, StateError> {
        let text = config::print(configuration);
        Ok(match self.file().write(text.as_bytes())? {
            Written::Synced => Saved::Synced,
            Written::NotSynced(error) => Saved::NotSynced(error.into()),
        })
    }

    /// Renames the persisted configuration to `conf.json.rejected`, or with `.1`, `.2`, … after that, so that the next
    /// save does not overwrite it: the operator may want to fix it.
    ///
    /// Returns the new name, or `None` if there was nothing to move.
    ///
    /// # Errors
    ///
    /// If it cannot be moved.
    pub fn set_aside(&self) -> Result<Option<PathBuf>, StateError> {
        let from = self.configuration();
        let names = (1..u32::MAX).map(|number| format!("{REJECTED}.{number}"));
        for name in std::iter::once(REJECTED.to_owned()).chain(names) {
            let to = self.directory.join(name);
            if to.symlink_metadata().is_ok() {
                continue;
            }
            return match fs::rename(&from, &to) {
                Ok(()) => Ok(Some(to)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(io_error("move", &from)(error)),
            };
        }
        Ok(None)
    }

    fn file(&self) -> AtomicFile {
        AtomicFile::new(&self.directory, CONFIGURATION, TEMPORARY)
    }
}

/// A configuration that was persisted.
#[derive(Debug)]
pub enum Saved {
    /// It survives a power failure.
    Synced,
    /// It is in place and survives the process, but the directory could not be synced: after a power failure the old
    /// one may be back.
    NotSynced(StateError),
}

/// A state directory that cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// Another process uses it.
    #[error("the state directory \"{}\" is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The certificates' folder cannot be used.
    #[error("cannot use the folder of certificates: {0}")]
    Certificates(StoreError),
    /// A system call failed.
    #[error("cannot {action} \"{}\": {source}", path.display())]
    Io {
        /// What failed.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        Self::Certificates(error)
    }
}

impl From<WriteError> for StateError {
    fn from(error: WriteError) -> Self {
        io_error(error.action, &error.path)(error.source)
    }
}

/// A persisted configuration that cannot be read.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(StateError),
    /// The file is not JSON.
    #[error("\"{}\", {error}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: JsonError,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use atomic_file::Step;

    use super::*;

    fn value(text: &str) -> Value {
        config::parse(text.as_bytes()).unwrap()
    }

    fn files(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_saved_configuration_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.load().unwrap(), None);
        let text = value(r#"{"b":1.50,"a":"é"}"#);
        assert!(matches!(state.save(&text).unwrap(), Saved::Synced));
        drop(state);
        assert_eq!(StateDir::open(&path).unwrap().load().unwrap(), Some(text));
        assert_eq!(files(&path), [CERTIFICATES, CONFIGURATION, LOCK]);
    }

    #[test]
    fn a_state_directory_is_new_until_a_configuration_is_saved() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        assert!(state.is_new());
        state.save(&value("{}")).unwrap();
        assert!(!state.is_new());
        state.set_aside().unwrap().unwrap();
        assert!(!state.is_new());
        fs::remove_file(directory.path().join(REJECTED)).unwrap();
        assert!(state.is_new());
        std::os::unix::fs::symlink("/nowhere", state.configuration()).unwrap();
        assert!(!state.is_new());
    }

    #[test]
    fn only_the_owner_can_read_a_configuration() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path().join("state")).unwrap();
        state.save(&value("{}")).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.configuration()), FILE_MODE);
        assert_eq!(mode(directory.path().join("state")), DIRECTORY_MODE);
    }

    #[test]
    fn two_processes_do_not_share_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = StateDir::open(directory.path()).unwrap();
        assert!(matches!(
            StateDir::open(directory.path()),
            Err(StateError::InUse(_))
        ));
        drop(first);
        assert!(StateDir::open(directory.path()).is_ok());
    }

    #[test]
    fn a_crash_before_any_step_leaves_the_old_or_the_new_one_complete() {
        for crash in Step::ALL {
            let directory = tempfile::tempdir().unwrap();
            let (old, new) = (value(r#"{"a":"old"}"#), value(r#"{"a":"new"}"#));
            let state = StateDir::open(directory.path()).unwrap();
            state.save(&old).unwrap();
            let text = config::print(&new);
            let _ = state.file().write_in_steps(text.as_bytes(), &mut |step| {
                if step == crash {
                    Err(io::Error::other("crash"))
                } else {
                    Ok(())
                }
            });
            drop(state);

            let state = StateDir::open(directory.path()).unwrap();
            let expected = if crash == Step::SyncFolder { new } else { old };
            assert_eq!(state.load().unwrap(), Some(expected), "{crash:?}");
            assert_eq!(
                files(directory.path()),
                [CERTIFICATES, CONFIGURATION, LOCK],
                "{crash:?}"
            );
        }
    }

    #[test]
    fn a_half_written_file_is_ignored_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(TEMPORARY), "{\"a\":").unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        assert_eq!(state.load().unwrap(), None);
        assert_eq!(files(directory.path()), [CERTIFICATES, LOCK]);
    }

    #[test]
    fn a_corrupt_file_is_named_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        fs::write(state.configuration(), "{\n \"a\" 1}").unwrap();
        let message = state.load().unwrap_err().to_string();
        let place = format!(
            "\"{}\", line 2, column 6: ",
            state.configuration().display()
        );
        assert!(message.starts_with(&place), "{message}");
    }

    #[test]
    fn files_set_aside_do_not_replace_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        assert_eq!(state.set_aside().unwrap(), None);
        for name in [
            "conf.json.rejected",
            "conf.json.rejected.1",
            "conf.json.rejected.2",
        ] {
            fs::write(state.configuration(), name).unwrap();
            let to = state.set_aside().unwrap().unwrap();
            assert_eq!(to, directory.path().join(name));
            assert_eq!(fs::read_to_string(to).unwrap(), name);
        }
        assert_eq!(state.load().unwrap(), None);
    }
}

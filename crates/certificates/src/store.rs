//! The bundles of a state directory: on disk, and as a snapshot in memory.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atomic_file::{AtomicFile, WriteError, Written};
use nix::fcntl::OFlag;
use parking_lot::Mutex;
use untrusted_text::excerpt;

use crate::{Bundle, BundleError, Certificates, CurrentCertificates, NameError, check_name};

const FOLDER_MODE: u32 = 0o700;

/// The stored bundles.
///
/// A bundle is a file in the store's folder, with the bundle's name and the uploaded text, as in `certs`
/// of Unit's state directory. The folder has mode 0700, its files 0600. Files are replaced atomically;
/// those whose names begin with a dot are temporary, and not bundles.
///
/// All calls except [`snapshot`](Self::snapshot) block on the disk, and changes wait for each other. The
/// caller must hold the lock of the state directory: the store does not protect itself from other
/// processes.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    current: CurrentCertificates,
    /// Held during each change.
    changing: Mutex<()>,
}

impl Store {
    /// Opens the store in a folder, which is created with its parents if it is missing, and reads all
    /// bundles.
    ///
    /// A file that is not a usable bundle is returned as damaged, and stays until a bundle with its name is
    /// put or removed. Temporary files that a crash has left are removed.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created or read, or is not a folder.
    pub fn open(folder: impl Into<PathBuf>) -> Result<(Self, Vec<Damaged>), StoreError> {
        let folder = folder.into();
        make_private(&folder)?;
        let (certificates, damaged) = read_all(&folder, |left_over| {
            // A failure is harmless: the file only takes space.
            let _ = fs::remove_file(left_over);
        })?;
        let store = Self {
            folder,
            current: CurrentCertificates::default(),
            changing: Mutex::new(()),
        };
        store.current.set(Arc::new(certificates));
        Ok((store, damaged))
    }

    /// Reads the bundles of a folder, and the damaged files, without creating or removing anything. A
    /// missing folder is empty.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn look(folder: &Path) -> Result<(Certificates, Vec<Damaged>), StoreError> {
        if !folder.try_exists().map_err(io_error("read", folder))? {
            return Ok((Certificates::default(), Vec::new()));
        }
        read_all(folder, |_| ())
    }

    /// The current bundles. Never waits.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Certificates> {
        self.current.snapshot()
    }

    /// Stores a new bundle under an unused name, as `PUT /certificates/NAME` does in Unit.
    ///
    /// # Errors
    ///
    /// If the name is invalid or already used, the text is not a bundle, or it cannot be written; checked in
    /// this order. Then nothing has changed.
    pub fn put(&self, name: &str, text: &[u8]) -> Result<Written, PutError> {
        check_name(name)?;
        let _changing = self.changing.lock();
        if self.snapshot().get(name).is_some() {
            return Err(PutError::Exists);
        }
        self.keep(name, text)
    }

    /// Stores a bundle, and replaces the one with the same name, if there is one. Not possible in Unit.
    ///
    /// # Errors
    ///
    /// If the name is invalid, the text is not a bundle, or it cannot be written. Then nothing has changed.
    pub fn replace(&self, name: &str, text: &[u8]) -> Result<Written, PutError> {
        check_name(name)?;
        let _changing = self.changing.lock();
        self.keep(name, text)
    }

    fn keep(&self, name: &str, text: &[u8]) -> Result<Written, PutError> {
        let bundle = Arc::new(Bundle::parse(text)?);
        let written = self.file(name).write(text)?;
        let certificates = self.snapshot().with(name, bundle);
        self.current.set(Arc::new(certificates));
        Ok(written)
    }

    /// Removes a bundle, or the damaged file of this name. The caller checks whether a listener uses it; a
    /// listener that does keeps presenting it.
    ///
    /// # Errors
    ///
    /// If there is no such bundle, or the file cannot be removed. Then nothing has changed.
    pub fn remove(&self, name: &str) -> Result<Written, RemoveError> {
        check_name(name).map_err(|_| RemoveError::Missing)?;
        let _changing = self.changing.lock();
        let known = self.snapshot().get(name).is_some();
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            // Another process has removed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound && known => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RemoveError::Missing);
            }
            Err(source) => return Err(RemoveError::Io(write_error("remove", &path)(source))),
        }
        let certificates = self.snapshot().without(name);
        self.current.set(Arc::new(certificates));
        let synced = atomic_file::sync_folder(&self.folder);
        let synced = synced.map_err(write_error("sync", &self.folder));
        Ok(synced.map_or_else(Written::NotSynced, |()| Written::Synced))
    }

    /// A handle to the current bundles, which follows the changes of this store.
    #[must_use]
    pub fn current(&self) -> &CurrentCertificates {
        &self.current
    }

    /// The store's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder and the files of all bundles, whose owner has to change with the server's user.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let certificates = self.snapshot();
        let files = certificates.iter().map(|(name, _)| self.folder.join(name));
        std::iter::once(self.folder.clone()).chain(files).collect()
    }

    fn file(&self, name: &str) -> AtomicFile {
        AtomicFile::new(&self.folder, name, &format!(".{name}.tmp"))
    }
}

/// Creates the folder with mode 0700, or changes it to that mode.
fn make_private(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(io_error("create", folder))?;
    // Opened once, without following a symlink, and changed through the descriptor: otherwise a symlink
    // could redirect the change of mode to another folder.
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(folder);
    let opened = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(StoreError::NoFolder(folder.to_owned()));
        }
        opened => opened.map_err(io_error("open", folder))?,
    };
    let metadata = opened.metadata().map_err(io_error("open", folder))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        opened
            .set_permissions(Permissions::from_mode(FOLDER_MODE))
            .map_err(io_error("make private", folder))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Bundle, DamageKind> {
    // A symlink could lead to a file that another user can write; opening a pipe would block.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    let is_file = path.symlink_metadata().map(|file| file.is_file());
    let file = match (file, is_file) {
        (_, Ok(false)) => return Err(DamageKind::NoFile),
        (Err(error), _) | (_, Err(error)) => return Err(DamageKind::Io(error)),
        (Ok(file), Ok(true)) => file,
    };
    if !file.metadata().map_err(DamageKind::Io)?.is_file() {
        return Err(DamageKind::NoFile);
    }
    let mut text = Vec::new();
    // One byte more than allowed, so that the parser sees that the text is too long.
    file.take(Bundle::MAX_TEXT as u64 + 1)
        .read_to_end(&mut text)
        .map_err(DamageKind::Io)?;
    Bundle::parse(&text).map_err(DamageKind::Bundle)
}

/// Reads all bundles of a folder, and calls `left_over` for each temporary file that a crash has left.
fn read_all(
    folder: &Path,
    left_over: impl Fn(&Path),
) -> Result<(Certificates, Vec<Damaged>), StoreError> {
    let (mut bundles, mut damaged) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(io_error("read", folder))? {
        let entry = entry.map_err(io_error("read", folder))?.file_name();
        let name = entry.to_string_lossy();
        if name.starts_with('.') {
            if name.ends_with(".tmp") {
                left_over(&folder.join(&entry));
            }
            continue;
        }
        let bundle = match entry.to_str().map(|name| (name, check_name(name))) {
            Some((name, Ok(()))) => read(&folder.join(name)),
            Some((_, Err(error))) => Err(DamageKind::Name(error)),
            None => Err(DamageKind::NotText),
        };
        match bundle {
            Ok(bundle) => bundles.push((name.into_owned(), Arc::new(bundle))),
            Err(kind) => damaged.push(Damaged {
                name: excerpt(&name),
                kind,
            }),
        }
    }
    damaged.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((bundles.into_iter().collect(), damaged))
}

/// A file in the store's folder that is not a usable bundle.
#[derive(Debug, thiserror::Error)]
#[error("the certificate \"{name}\" cannot be used: {kind}")]
pub struct Damaged {
    /// The file's name, with what cannot be printed escaped.
    pub name: String,
    /// The reason.
    pub kind: DamageKind,
}

/// Why a file in the store's folder is not a usable bundle.
#[derive(Debug, thiserror::Error)]
pub enum DamageKind {
    /// Its name is not valid for a bundle.
    #[error("{0}")]
    Name(NameError),
    /// Its name is not UTF-8.
    #[error("its name is not UTF-8")]
    NotText,
    /// It is a folder, a symlink, a pipe, …
    #[error("it is not a regular file")]
    NoFile,
    /// It cannot be read.
    #[error("{0}")]
    Io(io::Error),
    /// Its content is not a bundle.
    #[error("{0}")]
    Bundle(BundleError),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The path is not a folder, or is a symlink.
    #[error("\"{}\" is not a folder", .0.display())]
    NoFolder(PathBuf),
    /// A system call failed.
    #[error("{0}")]
    Io(WriteError),
}

/// Why a bundle is not stored. Unit answers 400 for the first three, and 500 for the last.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is already used.
    #[error("there is already a certificate of this name")]
    Exists,
    /// The text is not a bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] WriteError),
}

/// Why a bundle is not removed. Unit answers 404 and 500.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is no bundle of this name.
    #[error("there is no certificate of this name")]
    Missing,
    /// The file cannot be removed.
    #[error(transparent)]
    Io(#[from] WriteError),
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let error = write_error(action, path);
    move |source| StoreError::Io(error(source))
}

fn write_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError {
        action,
        path,
        source,
    }
}

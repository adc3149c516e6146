use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use atomic_file::{AtomicFile, WriteError, Written};
use nix::fcntl::OFlag;
use untrusted_text::excerpt;

use crate::{Bundle, BundleError, Certificates, NameError, check_name};

const FOLDER_MODE: u32 = 0o700;

/// The bundles that are kept, in memory and on disk.
///
/// On disk, a bundle is a file with its name in the store's folder, with the text that was
/// uploaded: as Unit has it in `certs` of its state directory. The folder has the mode 0700, its
/// files 0600. A file is written whole or not at all; what begins with a dot is no bundle.
///
/// All calls but [`snapshot`](Self::snapshot) block on the disk, and changes wait for each other.
/// Nothing keeps another process out: whoever opens a store has the state directory locked.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    certificates: ArcSwap<Certificates>,
    /// Held by whoever changes anything.
    changing: Mutex<()>,
}

impl Store {
    /// Opens the store in a folder, which is made with its parents if it is missing, and reads all
    /// bundles.
    ///
    /// A file that is no bundle is told, and hinders no other one. It stays where it is, until a
    /// bundle of its name is put in its place, or removed. What a crash has left behind of a file
    /// that was being written is removed.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or read, or is something else.
    pub fn open(folder: impl Into<PathBuf>) -> Result<(Self, Vec<Damaged>), StoreError> {
        let folder = folder.into();
        make_private(&folder)?;
        let (certificates, damaged) = read_all(&folder, |left_over| {
            // It takes space, and no more, if it stays.
            let _ = fs::remove_file(left_over);
        })?;
        let store = Self {
            folder,
            certificates: ArcSwap::from_pointee(certificates),
            changing: Mutex::new(()),
        };
        Ok((store, damaged))
    }

    /// The bundles that are kept in a folder, and the files that are none, for whoever only looks:
    /// nothing is made or removed. A folder that is not there has none.
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

    /// The bundles as they are now. Never waits.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Certificates> {
        self.certificates.load_full()
    }

    /// Keeps a new bundle under a name that none has: what `PUT /certificates/NAME` does in Unit.
    ///
    /// # Errors
    ///
    /// If the name is none or taken, the text is no bundle, or it cannot be written; asked in this
    /// order. Nothing has changed then.
    pub fn put(&self, name: &str, text: &[u8]) -> Result<Written, PutError> {
        check_name(name)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.certificates.load().get(name).is_some() {
            return Err(PutError::Exists);
        }
        self.keep(name, text)
    }

    /// Keeps a bundle under a name, in the place of the one that has it, if there is one. Unit has
    /// no such thing.
    ///
    /// # Errors
    ///
    /// If the name is none, the text is no bundle, or it cannot be written. Nothing has changed
    /// then.
    pub fn replace(&self, name: &str, text: &[u8]) -> Result<Written, PutError> {
        check_name(name)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.keep(name, text)
    }

    fn keep(&self, name: &str, text: &[u8]) -> Result<Written, PutError> {
        let bundle = Arc::new(Bundle::parse(text)?);
        let written = self.file(name).write(text)?;
        let certificates = self.certificates.load().with(name, bundle);
        self.certificates.store(Arc::new(certificates));
        Ok(written)
    }

    /// Forgets a bundle, or removes the damaged file of this name. Whether a listener uses it is for
    /// the caller to ask; one that does goes on with it.
    ///
    /// # Errors
    ///
    /// If there is none, or the file cannot be removed. Nothing has changed then.
    pub fn remove(&self, name: &str) -> Result<Written, RemoveError> {
        check_name(name).map_err(|_| RemoveError::Missing)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.certificates.load().get(name).is_some();
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            // Somebody else has removed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound && known => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RemoveError::Missing);
            }
            Err(source) => return Err(RemoveError::Io(write_error("remove", &path)(source))),
        }
        let certificates = self.certificates.load().without(name);
        self.certificates.store(Arc::new(certificates));
        let synced = atomic_file::sync_folder(&self.folder);
        let synced = synced.map_err(write_error("sync", &self.folder));
        Ok(synced.map_or_else(Written::NotSynced, |()| Written::Synced))
    }

    /// Where it keeps them.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder and the files of all bundles: what another user needs to go on with them.
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

/// Makes the folder, or takes from others what they may do with it.
fn make_private(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(io_error("make", folder))?;
    // Through a link, it would be another folder whose mode is changed; so it is opened once, and
    // nobody can put one in its place meanwhile.
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
    // A link leads to what this server may read, and somebody else may write; a pipe, to nothing.
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
    // One more than is read, so that what is too long is seen to be.
    file.take(Bundle::MAX_TEXT as u64 + 1)
        .read_to_end(&mut text)
        .map_err(DamageKind::Io)?;
    Bundle::parse(&text).map_err(DamageKind::Bundle)
}

/// Reads all bundles of a folder. What a crash has left behind of a file is given to `left_over`.
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

/// A file in the store's folder that is no bundle.
#[derive(Debug, thiserror::Error)]
#[error("the certificate \"{name}\" cannot be used: {kind}")]
pub struct Damaged {
    /// The file's name, with what cannot be printed escaped.
    pub name: String,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a file in the store's folder.
#[derive(Debug, thiserror::Error)]
pub enum DamageKind {
    /// Its name is none that a bundle has.
    #[error("{0}")]
    Name(NameError),
    /// Its name is not UTF-8.
    #[error("its name is not UTF-8")]
    NotText,
    /// It is a folder, a link, a pipe, …
    #[error("it is no regular file")]
    NoFile,
    /// It cannot be read.
    #[error("{0}")]
    Io(io::Error),
    /// Its content is no bundle.
    #[error("{0}")]
    Bundle(BundleError),
}

/// A folder that no store can be in.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is something else.
    #[error("\"{}\" is no folder", .0.display())]
    NoFolder(PathBuf),
    /// The system refused something.
    #[error("{0}")]
    Io(WriteError),
}

/// A bundle that is not kept. Unit's answers are 400 for the first three, and 500.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is one of this name.
    #[error("there is a certificate of this name already")]
    Exists,
    /// The text is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] WriteError),
}

/// A bundle that is not removed. Unit's answers are 404 and 500.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none of this name.
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

//! A cache of compiled components on disk, so that a server starts without compiling. Loads and stores; which
//! components are needed is up to the caller.
//!
//! ```text
//!   file ──Source::read──▶ Source ── key ──▶ valid entry ──yes──▶ mapped
//!                             │                  │ no
//!                             └──────────────────┴──▶ compiled ──▶ entry written
//! ```
//!
//! [`Cache::load_compiled`] does not compile. With [`MappedCode`] it needs no memory that was written and becomes
//! executable, either.
//!
//! Loading machine code means to trust it, since nothing in the code can be checked. So what is checked is who wrote
//! it, and that it is complete:
//!
//! - The folder and each entry belong to the user that the process runs as, and no other user may access
//!   them. [`Cache::open`] refuses any other folder. It is held open, so that it cannot be
//!   replaced.
//! - An entry's name is a [BLAKE3] hash of all that the code comes from: the component's bytes, the
//!   versions of Wasmtime and its parts, and the settings of its compiler.
//! - An entry ends with a hash of its name and content. A truncated, damaged or misnamed entry is
//!   removed, and the component compiled again.
//! - An entry is written to a temporary file, synced, and renamed, so that it is never incomplete.
//! - Other files in the folder are neither removed nor counted. Entries are recognised by their names.
//!
//! [BLAKE3]: https://github.com/BLAKE3-team/BLAKE3-specs

mod entry;
mod folder;
mod key;
mod mapped_code;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Component, Engine, LoadError, Source};
use parking_lot::{Mutex, MutexGuard};

use entry::Damage;
use folder::Folder;
pub use folder::OpenError;
use key::Key;
pub use mapped_code::MappedCode;

/// Maximum size of all entries together in bytes, beyond which the least recently used ones are removed:
/// 2 GiB, or a quarter of the file system if that is less.
pub const LIMIT: u64 = 2 << 30;

/// A folder with machine code.
#[derive(Debug)]
pub struct Cache {
    folder: Folder,
    /// Entries that this process has mapped or written. They are not removed: a mapped file's blocks stay in use, and
    /// the next start would have to compile the others.
    in_use: Mutex<HashSet<String>>,
    /// Whether the log has a warning that these alone exceed the limit.
    has_warned: AtomicBool,
}

/// A component that has been loaded.
pub struct Loaded {
    /// The component, ready for use.
    pub component: Component,
    /// Where its machine code comes from.
    pub origin: Origin,
    /// Why the compiled component could not be written to the cache.
    pub not_kept: Option<io::Error>,
}

/// Where machine code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the cache.
    Cache,
    /// It was compiled.
    Compiler,
}

/// Why a component cannot be loaded without compiling it.
#[derive(Debug, thiserror::Error)]
pub enum NotCompiled {
    /// It could not be loaded with a compiler, either.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is no entry.
    #[error("{}: not in the cache of compiled components, {folder:?}", component.display())]
    Missing {
        /// The component's file.
        component: PathBuf,
        /// The cache's folder.
        folder: PathBuf,
    },
    /// There is an entry that cannot be used.
    #[error("{}: cache entry {entry:?} not used: {why}", component.display())]
    Unusable {
        /// The component's file.
        component: PathBuf,
        /// The entry's file, which may have been removed.
        entry: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Cache {
    /// Opens the folder. Missing folders are created with mode 0700, including parents.
    ///
    /// # Errors
    ///
    /// When it cannot be created or opened, is a symlink or not a folder, belongs to another user, or other users have
    /// access to it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self {
            folder: Folder::open(path.as_ref())?,
            in_use: Mutex::default(),
            has_warned: AtomicBool::new(false),
        })
    }

    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Loads the component in the file `path`, like [`Component::load`].
    ///
    /// A fault of the cache is not an error: the component is compiled then. Entries that cannot be used are logged;
    /// [`Loaded::not_kept`] has the error if the new entry cannot be written.
    ///
    /// # Errors
    ///
    /// Those of [`Component::load`].
    pub fn load(&self, engine: &Engine, path: &Path) -> Result<Loaded, LoadError> {
        let source = Source::read(path)?;
        let key = Key::of(engine, &source);
        match self.find(engine, &source, &key) {
            Ok(Some(component)) => {
                return Ok(Loaded {
                    component,
                    origin: Origin::Cache,
                    not_kept: None,
                });
            }
            Ok(None) => {}
            Err(why) => tracing::warn!(
                "cache entry {:?} not used: {why}; compiling the component",
                self.path().join(key.name())
            ),
        }
        let component = Component::compile(engine, &source)?;
        let stored = self.store(&component, path, &key);
        Ok(Loaded {
            component,
            origin: Origin::Compiler,
            not_kept: stored.err(),
        })
    }

    /// Loads the component in the file `path` if it is in the cache.
    ///
    /// # Errors
    ///
    /// If it is not, if its entry cannot be used, and those of [`Component::load`].
    pub fn load_compiled(&self, engine: &Engine, path: &Path) -> Result<Component, NotCompiled> {
        let source = Source::read(path)?;
        let key = Key::of(engine, &source);
        match self.find(engine, &source, &key) {
            Ok(Some(component)) => Ok(component),
            Ok(None) => Err(NotCompiled::Missing {
                component: path.to_owned(),
                folder: self.path().to_owned(),
            }),
            Err(why) => Err(NotCompiled::Unusable {
                component: path.to_owned(),
                entry: self.path().join(key.name()),
                why,
            }),
        }
    }

    /// The component of a valid entry, or why the entry that is there cannot be used. A damaged one is removed.
    fn find(
        &self,
        engine: &Engine,
        source: &Source,
        key: &Key,
    ) -> Result<Option<Component>, String> {
        let name = key.name();
        let entry = match self.folder.read(&name) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        match entry::verify(&entry, key) {
            Ok(()) => {}
            // Not removed: the entry may be valid, and out of files or memory is why it could not be read.
            Err(Damage::Read(error)) => return Err(error.to_string()),
            Err(damage) => {
                self.folder.remove(&name);
                return Err(format!("{damage}; removed"));
            }
        }
        // Not removed if this fails: it is what was written, so the reason is this process, which has no memory, or may
        // not execute code.
        let component = map(engine, source, &entry).map_err(|error| error.to_string())?;
        self.folder.touch(&entry);
        self.in_use().insert(name);
        Ok(Some(component))
    }

    fn store(&self, component: &Component, path: &Path, key: &Key) -> io::Result<()> {
        let image = component.image(path).map_err(io::Error::other)?;
        let end = entry::end(key, &image);
        let name = key.name();
        self.in_use().insert(name.clone());
        let in_use = |name: &str| self.in_use().contains(name);
        let written = self.folder.write(&name, &[&image, &end], in_use);
        let limit = self.folder.limit(LIMIT);
        let excess = self.folder.shrink(limit, in_use);
        if excess > 0 && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "cache entries in use exceed the limit of the cache by {} MiB (limit: {} MiB, folder: {:?})",
                excess >> 20,
                limit >> 20,
                self.path()
            );
        }
        written
    }

    fn in_use(&self) -> MutexGuard<'_, HashSet<String>> {
        self.in_use.lock()
    }
}

/// Maps an entry, which has been verified.
fn map(engine: &Engine, source: &Source, entry: &File) -> Result<Component, LoadError> {
    let path = source.path();
    let file = format!("/proc/self/fd/{}", entry.as_raw_fd());
    let mapped = Component::from_image(engine, path, Some(source), |wasmtime| {
        // SAFETY: only processes of this user can access the file, and only this crate writes such files. Its hash has
        // been verified, so it is what Wasmtime wrote for an engine of the same fingerprint. Files are renamed into
        // place and never written to again, so that it does not change while it is mapped.
        #[expect(unsafe_code, reason = "this crate's purpose")]
        unsafe {
            mapped_code::of_entry(entry, || {
                wasmtime::component::Component::deserialize_file(wasmtime, &file)
            })
        }
    });
    // Mapping fails without /proc, or if the file system is mounted `noexec`. Then the code is copied.
    mapped.or_else(|_| {
        Component::from_image(engine, path, Some(source), |wasmtime| {
            let bytes = read(entry)?;
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "this crate's purpose")]
            unsafe {
                wasmtime::component::Component::deserialize(wasmtime, bytes)
            }
        })
    })
}

fn read(entry: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(entry.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    entry.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

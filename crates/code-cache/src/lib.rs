//! A cache of compiled components on disk, so that a server starts without compiling. Loads and stores; which
//! components are needed is up to the caller.
//!
//! ```text
//!   file ──Source::read──▶ Source ── key ──▶ valid entry ──yes──▶ mapped
//!                             │                  │ no
//!                             └──────────────────┴──▶ compiled ──▶ entry written
//! ```
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

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Component, Engine, LoadError, Source};
use parking_lot::{Mutex, MutexGuard};

use entry::Damage;
use folder::Folder;
pub use folder::OpenError;
use key::Key;

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
        if let Some(component) = self.find(engine, &source, &key) {
            return Ok(Loaded {
                component,
                origin: Origin::Cache,
                not_kept: None,
            });
        }
        let component = Component::compile(engine, &source)?;
        let stored = self.store(&component, path, &key);
        Ok(Loaded {
            component,
            origin: Origin::Compiler,
            not_kept: stored.err(),
        })
    }

    fn find(&self, engine: &Engine, source: &Source, key: &Key) -> Option<Component> {
        let name = key.name();
        let entry = match self.folder.read(&name) {
            Ok(entry) => entry?,
            Err(error) => {
                let path = self.path().join(&name);
                tracing::warn!(
                    "cannot read cache entry {path:?}: {error}; compiling the component"
                );
                return None;
            }
        };
        let found = match entry::verify(&entry, key) {
            Ok(()) => map(engine, source, &entry).map_err(|error| {
                self.folder.remove(&name);
                format!("{error}; removed")
            }),
            // Not removed: the entry may be valid, and out of files or memory is why it could not be read.
            Err(Damage::Read(error)) => Err(error.to_string()),
            Err(damage) => {
                self.folder.remove(&name);
                Err(format!("{damage}; removed"))
            }
        };
        match found {
            Ok(component) => {
                self.folder.touch(&entry);
                self.in_use().insert(name);
                Some(component)
            }
            Err(why) => {
                let path = self.path().join(&name);
                tracing::warn!("cache entry {path:?} not used: {why}; compiling the component");
                None
            }
        }
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
            wasmtime::component::Component::deserialize_file(wasmtime, &file)
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

//! Keeps the machine code of components on disk, so that a server that starts again need not compile
//! them again.
//!
//! ```text
//!   file ──Source::read──▶ Source ── key ──▶ entry there, whole and ours ──▶ mapped
//!                             │                      no │
//!                             └──────compile───────────▶ written for the next time
//! ```
//!
//! Loading machine code is as good as running it, and nothing in the code can be checked. So what
//! counts is who wrote it, and that it is whole:
//!
//! - The folder belongs to the user that the process runs as, and nobody else may enter it; so does
//!   each entry. [`Cache::open`] refuses any other folder. It is held open, so that nobody can put
//!   another in its place.
//! - An entry's name is a [BLAKE3] hash of all that the code comes from: the component's bytes, the
//!   versions of Wasmtime and its parts, and the settings of its compiler.
//! - An entry ends with a hash of its name and content. One that is cut off, damaged or misnamed is
//!   removed, and the component compiled anew.
//! - An entry is written beside its place, synced, and renamed: it is there whole or not at all.
//! - Nothing but entries, which their names tell, is ever removed, or counts.
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
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::{Component, Engine, LoadError, Source};

use entry::Damage;
use folder::Folder;
pub use folder::OpenError;
use key::Key;

/// Bytes of all entries together, beyond which those go that have not been used for longest:
/// 2 GiB, or a quarter of the file system where that is less.
pub const LIMIT: u64 = 2 << 30;

/// A folder with machine code.
#[derive(Debug)]
pub struct Cache {
    folder: Folder,
    /// Entries that this process has mapped, or has written for its next start. To remove them frees
    /// nothing, or makes that start compile.
    in_use: Mutex<HashSet<String>>,
    /// Whether the log has said that these alone are too much.
    has_warned: AtomicBool,
}

/// A component that has been loaded.
pub struct Loaded {
    /// Ready to be used.
    pub component: Component,
    /// Where its machine code comes from.
    pub origin: Origin,
    /// Why what was compiled is not in the cache now, if so.
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
    /// Opens the folder, made with mode 0700 if it is missing, like those above it.
    ///
    /// # Errors
    ///
    /// When it cannot be made or opened, is no folder but a link to one, belongs to another user, or
    /// lets others in.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self {
            folder: Folder::open(path.as_ref())?,
            in_use: Mutex::default(),
            has_warned: AtomicBool::new(false),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Loads the component in the file `path`, like [`Component::load`].
    ///
    /// What is wrong with the cache is no error: the component is compiled. The log tells of entries
    /// that are not used, [`Loaded::not_kept`] of those that cannot be written.
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
                tracing::warn!("the compiled component {path:?} cannot be read: {error}");
                return None;
            }
        };
        let found = match entry::verify(&entry, key) {
            Ok(()) => map(engine, source, &entry).map_err(|error| {
                self.folder.remove(&name);
                format!("{error}; it is removed")
            }),
            // What lacks files or memory to be read is no worse for that, and is written anew.
            Err(Damage::Read(error)) => Err(error.to_string()),
            Err(damage) => {
                self.folder.remove(&name);
                Err(format!("{damage}; it is removed"))
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
                tracing::warn!("the compiled component {path:?} is not used: {why}");
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
                "the compiled components in use take {} MiB more than the {} MiB that the cache {:?} \
                 is to have",
                excess >> 20,
                limit >> 20,
                self.path()
            );
        }
        written
    }

    fn in_use(&self) -> MutexGuard<'_, HashSet<String>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a component of an entry that has been verified.
fn map(engine: &Engine, source: &Source, entry: &File) -> Result<Component, LoadError> {
    let path = source.path();
    let file = format!("/proc/self/fd/{}", entry.as_raw_fd());
    let mapped = Component::from_image(engine, path, Some(source), |wasmtime| {
        // SAFETY: only this user's processes can reach the file, and this is the one place that makes
        // such files: what it has is what Wasmtime wrote for an engine of the same fingerprint, whole.
        // Files are renamed into place and never written to again, so that it stays so while it is
        // mapped.
        #[expect(unsafe_code, reason = "this crate's purpose")]
        unsafe {
            wasmtime::component::Component::deserialize_file(wasmtime, &file)
        }
    });
    // There may be no /proc here, or the file system is one that no code may be run from.
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

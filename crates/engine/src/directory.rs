use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{Mode, fstat};
use wasmtime::component::ResourceTable;
use wasmtime::error::Context as _;
use wasmtime_wasi::filesystem::{WasiFilesystemCtx, WasiFilesystemView as _};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::open_files::{DescriptorPermit, Descriptors};

/// A folder that guests may use, with all that is in it.
///
/// It is looked up anew for each request; a request while it is not there ends in
/// [`Failure::Instantiate`](crate::Failure::Instantiate). Symbolic links on the way to it are followed
/// once, when its [`Application`](crate::Application) is made: from then on none may be there, or a
/// guest that can write to a folder around this one could choose what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The folder on the host.
    pub host: PathBuf,
    /// What guests know it as.
    pub guest: String,
    /// Whether guests may change what is in it.
    pub access: Access,
}

/// What guests may do with a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read files and list folders. All else fails with `read-only` or `not-permitted`.
    ReadOnly,
    /// Everything that the host's user may do.
    ReadWrite,
}

impl Directory {
    /// Finds out what the path means at this moment. If it means nothing, no guest gets it later.
    pub(crate) fn follow_links(&mut self) {
        if let Ok(path) = fs::canonicalize(&self.host) {
            self.host = path;
        }
    }

    /// Looks it up at this moment.
    ///
    /// # Errors
    ///
    /// When it is not there, or a symbolic link is on the way.
    fn look_up(&self) -> wasmtime::Result<Found> {
        let open = || {
            let folder = open_without_links(&self.host)?;
            let status = fstat(&folder)?;
            Ok::<_, Errno>(Found {
                folder,
                identity: (status.st_dev, status.st_ino),
            })
        };
        open().with_context(|| format!("the folder {} cannot be opened", self.host.display()))
    }

    /// Opens what was found, for guests.
    fn open(&self, found: &Found, builder: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        let permissions = match self.access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        // WASI takes a path: that of what is open, whatever its name means by now.
        let opened = format!("/proc/self/fd/{}", found.folder.as_raw_fd());
        builder
            .preopened_dir(opened, &self.guest, permissions)
            .with_context(|| format!("the folder {} cannot be opened", self.host.display()))?;
        Ok(())
    }
}

/// A folder as it is at one moment.
struct Found {
    folder: OwnedFd,
    identity: (dev_t, ino_t),
}

/// The folders of one application, open once for all of its instances that are there at the same time.
/// While there is no instance, no folder is open.
#[derive(Default)]
pub(crate) struct Folders(Mutex<Weak<OpenFolders>>);

/// Folders that are open.
pub(crate) struct OpenFolders {
    opened: WasiFilesystemCtx,
    identities: Vec<(dev_t, ino_t)>,
    _permits: Vec<DescriptorPermit>,
}

impl Folders {
    /// The folders as they are now: those that others have open, if they still are the same.
    ///
    /// # Errors
    ///
    /// When one of them is not there, a symbolic link is on the way, or the application may have no more
    /// files open.
    pub(crate) fn open(
        &self,
        directories: &[Directory],
        descriptors: &Arc<Descriptors>,
    ) -> wasmtime::Result<Arc<OpenFolders>> {
        let found = directories.iter().map(Directory::look_up);
        let found = found.collect::<wasmtime::Result<Vec<_>>>()?;
        let identities: Vec<_> = found.iter().map(|it| it.identity).collect();
        let opened = self.lock().upgrade();
        if let Some(opened) = opened.filter(|opened| opened.identities == identities) {
            return Ok(opened);
        }
        let permits = directories.iter().map(|_| descriptors.try_acquire());
        let permits: Option<Vec<_>> = permits.collect();
        let permits = permits.ok_or_else(|| {
            wasmtime::Error::msg("its folders cannot be opened: the limit of open files is reached")
        })?;
        let mut builder = WasiCtxBuilder::new();
        for (directory, found) in directories.iter().zip(&found) {
            directory.open(found, &mut builder)?;
        }
        let opened = Arc::new(OpenFolders {
            opened: Opened::new(builder.build()).into_folders(),
            identities,
            _permits: permits,
        });
        *self.lock() = Arc::downgrade(&opened);
        Ok(opened)
    }

    fn lock(&self) -> MutexGuard<'_, Weak<OpenFolders>> {
        // Nothing is left half done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenFolders {
    /// For one instance.
    pub(crate) fn view(&self) -> WasiFilesystemCtx {
        self.opened.clone()
    }
}

/// What gives access to the folders of a context, which are private otherwise.
struct Opened {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl Opened {
    fn new(ctx: WasiCtx) -> Self {
        let table = ResourceTable::new();
        Self { ctx, table }
    }

    fn into_folders(mut self) -> WasiFilesystemCtx {
        self.filesystem().ctx.clone()
    }
}

impl WasiView for Opened {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
        }
    }
}

const FOLDER: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

fn open_without_links(path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(FOLDER)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(AT_FDCWD, path, how) {
        // Linux before 5.6, and sandboxes that do not know it.
        Err(Errno::ENOSYS | Errno::EPERM) => open_step_by_step(path),
        opened => opened,
    }
}

fn open_step_by_step(path: &Path) -> nix::Result<OwnedFd> {
    let mut folder = open("/", FOLDER, Mode::empty())?;
    for component in path.components() {
        if component != Component::RootDir {
            let next = FOLDER.union(OFlag::O_NOFOLLOW);
            folder = openat(&folder, component.as_os_str(), next, Mode::empty())?;
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_anywhere_on_the_way_is_none() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        let inner = top.join("a/b/c");
        fs::create_dir_all(&inner).unwrap();
        fs::write(top.join("file"), "").unwrap();
        symlink("a", top.join("middle")).unwrap();
        symlink("a/b/c", top.join("end")).unwrap();
        let both: [fn(&Path) -> nix::Result<OwnedFd>; 2] = [open_without_links, open_step_by_step];
        for open in both {
            for path in [Path::new("/"), &top, &inner] {
                open(path).unwrap();
            }
            for path in ["middle/b", "end", "file", "gone"] {
                assert!(open(&top.join(path)).is_err(), "{path}");
            }
        }
    }
}

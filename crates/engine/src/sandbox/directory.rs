use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{Mode, fstat, stat};
use tokio::runtime::Handle;
use wasmtime::component::ResourceTable;
use wasmtime::error::Context as _;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::sandbox::open_files::{Descriptors, OpenFile};

/// A folder that guests may use, with all that is in it.
///
/// It is looked up anew for each instance; a request while it is not there ends in
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

    /// Whether its path leads to this folder, be it by a link: all that opening it anew would give is that
    /// same folder.
    fn is_still(&self, identity: Identity) -> bool {
        stat(&self.host).is_ok_and(|status| (status.st_dev, status.st_ino) == identity)
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
    identity: Identity,
}

/// What a folder is, whatever it is called. No other has it as long as the folder is open.
type Identity = (dev_t, ino_t);

/// How long folders stay open that no instance has.
const KEEP: Duration = Duration::from_secs(1);

/// The folders of one application, open once for all of its instances, and for a moment after the last of
/// them: opening them takes as long as a small request.
#[derive(Default)]
pub(crate) struct Folders(Mutex<State>);

#[derive(Default)]
struct State {
    open: Weak<OpenFolders>,
    /// Keeps them open, until no instance has asked for them for [`KEEP`].
    kept: Option<Arc<OpenFolders>>,
    was_asked: bool,
    has_closer: bool,
}

/// Closes the folders that are kept open when it is dropped.
struct Closer(Weak<Folders>);

impl Closer {
    /// Waits for [`KEEP`]. Whether the folders have been asked for meanwhile, so that it has to wait again.
    async fn waits(&self) -> bool {
        tokio::time::sleep(KEEP).await;
        let folders = self.0.upgrade();
        folders.is_some_and(|folders| std::mem::take(&mut folders.lock().was_asked))
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        let Some(folders) = self.0.upgrade() else {
            return;
        };
        let mut state = folders.lock();
        state.has_closer = false;
        let kept = state.kept.take();
        drop(state);
        drop(kept);
    }
}

/// Folders that are open.
pub(crate) struct OpenFolders {
    opened: WasiFilesystemCtx,
    identities: Vec<Identity>,
    files: Vec<OpenFile>,
    descriptors: Arc<Descriptors>,
}

impl Folders {
    /// The folders as they are now: those that are open, if they still are the same.
    ///
    /// # Errors
    ///
    /// When one of them is not there, a symbolic link is on the way, or the application may have no more
    /// files open.
    pub(crate) fn open(
        self: &Arc<Self>,
        directories: &[Directory],
        descriptors: &Arc<Descriptors>,
    ) -> wasmtime::Result<Arc<OpenFolders>> {
        let opened = {
            let mut state = self.lock();
            state.was_asked = true;
            match &state.kept {
                Some(kept) => Some((Arc::clone(kept), true)),
                // Those of an instance that has outlived the moment.
                None => state.open.upgrade().map(|open| (open, false)),
            }
        };
        let still = |(opened, _): &(Arc<OpenFolders>, bool)| opened.are_still(directories);
        let (opened, is_kept) = match opened.filter(still) {
            Some(opened) => opened,
            None => (
                Arc::new(OpenFolders::open(directories, descriptors)?),
                false,
            ),
        };
        if !is_kept {
            self.keep(&opened);
        }
        Ok(opened)
    }

    fn keep(self: &Arc<Self>, opened: &Arc<OpenFolders>) {
        let runtime = Handle::try_current();
        let mut state = self.lock();
        state.open = Arc::downgrade(opened);
        let before = match &runtime {
            Ok(_) => state.kept.replace(Arc::clone(opened)),
            // Without a runtime, nothing would close them.
            Err(_) => state.kept.take(),
        };
        let needs_closer = runtime.is_ok() && !state.has_closer;
        state.has_closer |= needs_closer;
        drop(state);
        drop(before);
        if needs_closer && let Ok(runtime) = runtime {
            let folders = Arc::downgrade(self);
            // In its task, so that the folders are closed as well when that ends with its runtime.
            let closer = Closer(folders);
            runtime.spawn(async move { while closer.waits().await {} });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenFolders {
    fn open(directories: &[Directory], descriptors: &Arc<Descriptors>) -> wasmtime::Result<Self> {
        let found = directories.iter().map(Directory::look_up);
        let found = found.collect::<wasmtime::Result<Vec<_>>>()?;
        let permits = directories.iter().map(|_| descriptors.try_acquire());
        let permits: Option<Vec<_>> = permits.collect();
        let permits = permits.ok_or_else(|| {
            wasmtime::Error::msg("its folders cannot be opened: the limit of open files is reached")
        })?;
        let mut builder = WasiCtxBuilder::new();
        for (directory, found) in directories.iter().zip(&found) {
            directory.open(found, &mut builder)?;
        }
        let mut opened = Opened::new(builder.build());
        let folders = opened.folders()?;
        let files = folders.iter().zip(permits);
        Ok(Self {
            identities: found.iter().map(|it| it.identity).collect(),
            files: files
                .map(|(file, permit)| OpenFile::new(file, permit))
                .collect(),
            opened: opened.filesystem().ctx.clone(),
            descriptors: Arc::clone(descriptors),
        })
    }

    fn are_still(&self, directories: &[Directory]) -> bool {
        let mut folders = directories.iter().zip(&self.identities);
        folders.all(|(directory, identity)| directory.is_still(*identity))
    }

    /// Gives them to a guest.
    pub(crate) fn give(&self, ctx: WasiCtx) -> WasiCtx {
        let mut opened = Opened::new(ctx);
        *opened.filesystem().ctx = self.opened.clone();
        opened.ctx
    }
}

impl Drop for OpenFolders {
    fn drop(&mut self) {
        self.opened = WasiFilesystemCtx::default();
        // An operation of a guest that is gone may still be at work in one of them.
        self.descriptors.leave(std::mem::take(&mut self.files));
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

    /// The folders themselves, in their order.
    fn folders(&mut self) -> wasmtime::Result<Vec<Arc<fs::File>>> {
        let mut view = self.filesystem();
        let folders = preopens::Host::get_directories(&mut view)?;
        let folders = folders.into_iter().map(|(folder, _)| {
            Ok(match view.table.delete(folder)? {
                Descriptor::Dir(folder) => folder.dir,
                Descriptor::File(file) => file.file,
            })
        });
        folders.collect()
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
    use crate::budget::Budget;
    use crate::sandbox::open_files::DescriptorBudget;
    use std::os::unix::fs::symlink;

    /// A folder `data` that an application has, in one that goes away.
    struct Data {
        top: tempfile::TempDir,
        directories: Vec<Directory>,
        folders: Arc<Folders>,
        descriptors: Arc<Descriptors>,
    }

    impl Data {
        fn new() -> Self {
            let top = tempfile::tempdir().unwrap();
            let mut directory = Directory {
                host: top.path().join("data"),
                guest: "/data".to_owned(),
                access: Access::ReadOnly,
            };
            fs::create_dir(&directory.host).unwrap();
            directory.follow_links();
            Self {
                top,
                directories: vec![directory],
                folders: Arc::default(),
                descriptors: Descriptors::new(DescriptorBudget::new(Budget::fair(8)), 1),
            }
        }

        fn open(&self) -> wasmtime::Result<Arc<OpenFolders>> {
            self.folders.open(&self.directories, &self.descriptors)
        }
    }

    async fn until(condition: impl Fn() -> bool) {
        let waiting = async {
            while !condition() {
                tokio::time::sleep(KEEP / 20).await;
            }
        };
        tokio::time::timeout(KEEP * 20, waiting).await.unwrap();
    }

    #[tokio::test]
    async fn folders_stay_open_for_the_next_instance_and_not_for_long() {
        let data = Data::new();
        let first = Arc::downgrade(&data.open().unwrap());
        // Nothing is closed before this test waits.
        assert!(Weak::ptr_eq(&first, &Arc::downgrade(&data.open().unwrap())));
        assert_eq!(data.descriptors.used(), 1);
        until(|| data.descriptors.used() == 0).await;
        assert!(first.upgrade().is_none());

        // Those of an instance that takes longer are kept again for the next one.
        let held = data.open().unwrap();
        until(|| data.folders.lock().kept.is_none()).await;
        let next = data.open().unwrap();
        assert!(Arc::ptr_eq(&held, &next));
        drop((held, next));
        assert_eq!(data.descriptors.used(), 1);
        until(|| data.descriptors.used() == 0).await;
    }

    #[tokio::test]
    async fn folders_are_what_their_paths_mean_when_an_instance_is_made() {
        let data = Data::new();
        let path = &data.directories[0].host;
        let first = data.open().unwrap();
        fs::rename(path, data.top.path().join("away")).unwrap();
        assert!(data.open().is_err());
        fs::create_dir(path).unwrap();
        let second = data.open().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        fs::remove_dir(path).unwrap();
        symlink("/", path).unwrap();
        assert!(data.open().is_err());
    }

    #[test]
    fn folders_count_until_the_last_operation_in_them_has_ended() {
        let data = Data::new();
        let opened = data.open().unwrap();
        let mut context = Opened::new(opened.give(WasiCtxBuilder::new().build()));
        let operation = context.folders().unwrap();
        drop((context, opened));
        assert_eq!(data.descriptors.used(), 1);
        drop(operation);
        assert_eq!(data.descriptors.used(), 0);
    }

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

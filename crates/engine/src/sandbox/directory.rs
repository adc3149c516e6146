//! Opening the folders of an application for its guests, without following symbolic links, and keeping them
//! open between instances. Which folders these are is in [`settings`](crate::settings::directory).

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{Mode, fstat, stat};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use wasmtime::component::ResourceTable;
use wasmtime::error::Context as _;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::sandbox::descriptors::{Descriptors, OpenFile};
use crate::settings::directory::{Access, Directory};

impl Directory {
    /// Opens the folder that the path names at this moment.
    ///
    /// # Errors
    ///
    /// When the path names no folder, or a symbolic link is in it.
    fn look_up(&self) -> wasmtime::Result<FoundFolder> {
        let open = || {
            let folder = open_without_links(&self.host)?;
            let status = fstat(&folder)?;
            Ok::<_, Errno>(FoundFolder {
                folder,
                identity: (status.st_dev, status.st_ino),
            })
        };
        open().with_context(|| format!("the folder {} cannot be opened", self.host.display()))
    }

    /// Whether the path still names this folder, symbolic links included: opening it again would give the same
    /// folder, or fail.
    fn names(&self, identity: FolderIdentity) -> bool {
        stat(&self.host).is_ok_and(|status| (status.st_dev, status.st_ino) == identity)
    }

    /// Adds the folder that was found to a guest's context.
    fn open(&self, found: &FoundFolder, builder: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        let permissions = match self.access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        // `wasmtime-wasi` takes a path only. This one names the open folder, whatever its own path means by now.
        let opened = format!("/proc/self/fd/{}", found.folder.as_raw_fd());
        builder
            .preopened_dir(opened, &self.guest, permissions)
            .with_context(|| format!("the folder {} cannot be opened", self.host.display()))?;
        Ok(())
    }
}

/// A folder at one moment.
struct FoundFolder {
    folder: OwnedFd,
    identity: FolderIdentity,
}

/// Device and inode. Unique as long as the folder is open.
type FolderIdentity = (dev_t, ino_t);

/// How long folders stay open without an instance that uses them.
const KEEP: Duration = Duration::from_secs(1);

/// The folders of one application. They are opened once for all of its instances, and stay open for a moment
/// after the last of these, since opening them takes as long as a small request.
#[derive(Default)]
pub(crate) struct Folders(Mutex<FoldersState>);

#[derive(Default)]
struct FoldersState {
    open: Weak<OpenFolders>,
    /// Keeps them open until no instance has needed them for [`KEEP`].
    kept: Option<Arc<OpenFolders>>,
    was_used: bool,
    has_closer: bool,
}

/// Closes the idle folders when it is dropped.
struct FoldersCloser(Weak<Folders>);

impl FoldersCloser {
    /// Waits for [`KEEP`]. Returns whether the folders have been used meanwhile, so that it has to wait again.
    async fn waits(&self) -> bool {
        tokio::time::sleep(KEEP).await;
        let folders = self.0.upgrade();
        folders.is_some_and(|folders| std::mem::take(&mut folders.0.lock().was_used))
    }
}

impl Drop for FoldersCloser {
    fn drop(&mut self) {
        let Some(folders) = self.0.upgrade() else {
            return;
        };
        let mut state = folders.0.lock();
        state.has_closer = false;
        let kept = state.kept.take();
        drop(state);
        drop(kept);
    }
}

/// The open folders of an application.
pub(crate) struct OpenFolders {
    opened: WasiFilesystemCtx,
    identities: Vec<FolderIdentity>,
    files: Vec<OpenFile>,
    descriptors: Arc<Descriptors>,
}

impl Folders {
    /// The folders that the paths name now: those that are open already, if they are the same.
    ///
    /// # Errors
    ///
    /// When one is missing, a symbolic link is in its path, or the application is at its limit of open files.
    pub(crate) fn open(
        self: &Arc<Self>,
        directories: &[Directory],
        descriptors: &Arc<Descriptors>,
    ) -> wasmtime::Result<Arc<OpenFolders>> {
        let opened = {
            let mut state = self.0.lock();
            state.was_used = true;
            match &state.kept {
                Some(kept) => Some((Arc::clone(kept), true)),
                // An instance that runs for longer still has them.
                None => state.open.upgrade().map(|open| (open, false)),
            }
        };
        let still = |(opened, _): &(Arc<OpenFolders>, bool)| opened.match_paths(directories);
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
        let mut state = self.0.lock();
        state.open = Arc::downgrade(opened);
        let before = match &runtime {
            Ok(_) => state.kept.replace(Arc::clone(opened)),
            // Without a runtime, nothing would close them later.
            Err(_) => state.kept.take(),
        };
        let needs_closer = runtime.is_ok() && !state.has_closer;
        state.has_closer |= needs_closer;
        drop(state);
        drop(before);
        if needs_closer && let Ok(runtime) = runtime {
            let folders = Arc::downgrade(self);
            // Owned by its task, so that the folders are also closed when the runtime shuts down.
            let closer = FoldersCloser(folders);
            runtime.spawn(async move { while closer.waits().await {} });
        }
    }
}

impl OpenFolders {
    fn open(directories: &[Directory], descriptors: &Arc<Descriptors>) -> wasmtime::Result<Self> {
        let found = directories.iter().map(Directory::look_up);
        let found = found.collect::<wasmtime::Result<Vec<_>>>()?;
        let permits = directories.iter().map(|_| descriptors.try_acquire());
        let permits: Option<Vec<_>> = permits.collect();
        let permits = permits.ok_or_else(|| {
            wasmtime::Error::msg("cannot open its folders: the application's share of the process's open files is used up")
        })?;
        let mut builder = WasiCtxBuilder::new();
        for (directory, found) in directories.iter().zip(&found) {
            directory.open(found, &mut builder)?;
        }
        let mut opened = ContextFolders::new(builder.build());
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

    fn match_paths(&self, directories: &[Directory]) -> bool {
        let mut folders = directories.iter().zip(&self.identities);
        folders.all(|(directory, identity)| directory.names(*identity))
    }

    /// Adds the folders to a guest's context.
    pub(crate) fn add_to(&self, ctx: WasiCtx) -> WasiCtx {
        let mut opened = ContextFolders::new(ctx);
        *opened.filesystem().ctx = self.opened.clone();
        opened.ctx
    }
}

impl Drop for OpenFolders {
    fn drop(&mut self) {
        self.opened = WasiFilesystemCtx::default();
        // A blocking operation of a guest that is gone may still hold one open.
        self.descriptors.orphan(std::mem::take(&mut self.files));
    }
}

/// Gives access to the folders of a context, which are otherwise private to `wasmtime-wasi`.
struct ContextFolders {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl ContextFolders {
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

impl WasiView for ContextFolders {
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
        // Linux before 5.6, and seccomp filters that do not know `openat2`.
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
    use crate::sandbox::descriptors::DescriptorBudget;
    use std::os::unix::fs::symlink;

    /// An application with one folder, in a temporary one.
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

    #[tokio::test(start_paused = true)]
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
        until(|| data.folders.0.lock().kept.is_none()).await;
        let next = data.open().unwrap();
        assert!(Arc::ptr_eq(&held, &next));
        drop((held, next));
        assert_eq!(data.descriptors.used(), 1);
        until(|| data.descriptors.used() == 0).await;
    }

    #[tokio::test]
    async fn paths_of_folders_are_looked_up_for_each_instance_and_symlinks_are_refused() {
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
    fn folders_count_as_open_files_until_the_last_operation_in_them_has_ended() {
        let data = Data::new();
        let opened = data.open().unwrap();
        let mut context = ContextFolders::new(opened.add_to(WasiCtxBuilder::new().build()));
        let operation = context.folders().unwrap();
        drop((context, opened));
        assert_eq!(data.descriptors.used(), 1);
        drop(operation);
        assert_eq!(data.descriptors.used(), 0);
    }

    #[test]
    fn a_symlink_anywhere_in_the_path_of_a_folder_is_refused() {
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

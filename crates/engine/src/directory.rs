use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::Mode;
use wasmtime::error::Context as _;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// A folder that guests may use, with all that is in it.
///
/// It is opened anew for each request; a request while it is not there ends in
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

    /// Opens it for one guest.
    ///
    /// # Errors
    ///
    /// When it is not there, or a symbolic link is on the way.
    pub(crate) fn open(&self, builder: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        let Self {
            host,
            guest,
            access,
        } = self;
        let permissions = match access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        let cannot = || format!("the folder {} cannot be opened", host.display());
        let folder = open_without_links(host).with_context(cannot)?;
        // WASI takes a path: that of what is open, whatever its name means by now.
        let opened = format!("/proc/self/fd/{}", folder.as_raw_fd());
        builder
            .preopened_dir(opened, guest, permissions)
            .with_context(cannot)?;
        Ok(())
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

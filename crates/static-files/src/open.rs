//! Opening files, confined to a folder or not, with the kernel's checks of symlinks and mount points.
//!
//! The kernel checks each step of the path as it resolves it, in one `openat2`, so that there is no race between
//! check and use. `cap-std` has neither a root that absolute symlinks stay within (`RESOLVE_IN_ROOT`, which is the
//! meaning of Unit's `chroot`) nor a check of mount points.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Whether the calling thread may wait for a disk or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// No: it serves other requests, too. Fails if the kernel's caches do not suffice.
    Never,
    /// Yes: a thread of the blocking pool.
    Allowed,
}

/// Why a file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Only [`Wait::Allowed`] can find out.
    WouldWait,
    System(Errno),
}

/// The start and the rules of lookups for one share.
pub(crate) struct Place {
    /// The folder of `chroot`.
    root: Option<OwnedFd>,
    resolve: ResolveFlags,
    wait: Wait,
}

/// The flags of `open`. `NONBLOCK`, as in Unit, so that pipes and devices do not block; `NOCTTY`, so that a terminal
/// does not become the controlling one.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Whether an error is final, and blocking would not change it.
const FINAL: [Errno; 7] = [
    Errno::NOENT,
    Errno::NOTDIR,
    Errno::NAMETOOLONG,
    Errno::NXIO,
    Errno::ACCESS,
    Errno::LOOP,
    Errno::XDEV,
];

impl Place {
    /// Unconfined: absolute paths, and relative ones from the working folder.
    pub(crate) fn anywhere(resolve: ResolveFlags, wait: Wait) -> Self {
        Self {
            root: None,
            resolve,
            wait,
        }
    }

    /// Confined to `chroot`. As in Unit, symlinks in the path of `chroot` itself are followed.
    pub(crate) fn below(
        chroot: &[u8],
        resolve: ResolveFlags,
        wait: Wait,
    ) -> Result<Self, OpenError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(CWD, chroot, flags, ResolveFlags::empty(), wait)?;
        Ok(Self {
            root: Some(root),
            resolve: resolve | ResolveFlags::IN_ROOT,
            wait,
        })
    }

    pub(crate) fn open(&self, path: &[u8]) -> Result<File, OpenError> {
        let opened = match &self.root {
            Some(root) => open(root, path, READ, self.resolve, self.wait),
            None => open(CWD, path, READ, self.resolve, self.wait),
        };
        opened.map(File::from)
    }
}

fn open(
    folder: impl AsFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
    wait: Wait,
) -> Result<OwnedFd, OpenError> {
    // A NUL: no file name has one. Unit's strings end there.
    if path.contains(&0) {
        return Err(OpenError::System(Errno::NOENT));
    }
    match wait {
        Wait::Never => {
            let resolve = resolve | ResolveFlags::CACHED;
            rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve).map_err(|errno| {
                if FINAL.contains(&errno) {
                    OpenError::System(errno)
                } else {
                    OpenError::WouldWait
                }
            })
        }
        Wait::Allowed => open_waiting(&folder, path, flags, resolve).map_err(OpenError::System),
    }
}

fn open_waiting(
    folder: impl AsFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    /// How often a lookup is repeated that a concurrent rename has disturbed.
    const TIMES: usize = 32;
    // Kernels before 5.6 have no `openat2`, and some sandboxes forbid it. Plain `open` is a safe fallback only if
    // nothing is confined; otherwise it is an error.
    if resolve.is_empty() {
        return rustix::io::retry_on_intr(|| {
            rustix::fs::openat(&folder, path, flags, Mode::empty())
        });
    }
    let mut last = Errno::AGAIN;
    for _ in 0..TIMES {
        match rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve) {
            Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
            result => return result,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Opens a path, with and without waiting, and compares the content or the error.
    #[track_caller]
    fn expect(place: &Place, path: &str, expected: Result<&str, Errno>) {
        let found = match place.open(path.as_bytes()) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                Ok(text)
            }
            Err(OpenError::System(errno)) => Err(errno),
            // A lookup in the caches fails for concurrent renames, symlinks whose access time has to be written,
            // and names that were never looked up.
            Err(OpenError::WouldWait) => {
                assert_eq!(place.wait, Wait::Never, "{path}");
                return;
            }
        };
        assert_eq!(found.as_deref().map_err(|errno| *errno), expected, "{path}");
    }

    #[test]
    fn a_file_that_was_looked_up_is_opened_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "a").unwrap();
        let path = path.into_os_string().into_string().unwrap();
        let place = Place::anywhere(ResolveFlags::empty(), Wait::Never);
        let cached = (0..100).any(|_| place.open(path.as_bytes()).is_ok());
        assert!(cached, "is this a kernel before 5.12?");
    }

    #[test]
    fn a_lookup_that_may_block_sees_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, path(name)).unwrap();
        std::fs::create_dir(path("www")).unwrap();
        std::fs::write(path("secret"), "secret").unwrap();
        std::fs::write(path("www/a"), "a").unwrap();
        link("../secret", "www/out");
        link("/a", "www/in");
        link("loop", "www/loop");
        let www = path("www").into_os_string().into_string().unwrap();

        let none = ResolveFlags::empty();
        for wait in [Wait::Allowed, Wait::Never] {
            let root = Place::below(www.as_bytes(), none, wait).unwrap();
            expect(&root, "a", Ok("a"));
            expect(&root, "../../a", Ok("a"));
            expect(&root, "/in", Ok("a"));
            expect(&root, "out", Err(Errno::NOENT));
            expect(&root, "b", Err(Errno::NOENT));
            expect(&root, "a/b", Err(Errno::NOTDIR));
            expect(&root, "loop", Err(Errno::LOOP));
            expect(&root, "a\0", Err(Errno::NOENT));
            expect(&root, &"a".repeat(300), Err(Errno::NAMETOOLONG));

            let links = Place::below(www.as_bytes(), ResolveFlags::NO_SYMLINKS, wait).unwrap();
            expect(&links, "in", Err(Errno::LOOP));
            expect(&links, "a", Ok("a"));

            let anywhere = Place::anywhere(none, wait);
            expect(&anywhere, &format!("{www}/out"), Ok("secret"));
        }
        let nothing = Place::below(b"/nothing", none, Wait::Allowed);
        assert_eq!(nothing.err(), Some(OpenError::System(Errno::NOENT)));
        let file = Place::below(format!("{www}/a").as_bytes(), none, Wait::Allowed);
        assert_eq!(file.err(), Some(OpenError::System(Errno::NOTDIR)));
    }
}

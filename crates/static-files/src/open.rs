//! Opens files, below a folder or anywhere, without leaving it.
//!
//! All of the confinement is the kernel's, in one `openat2`: it walks the path once and checks each
//! step as it takes it, so that there is no moment between a check and a use. `cap-std` would walk
//! the path as well as that, but it has no root that absolute links stay within
//! (`RESOLVE_IN_ROOT`, which is what Unit's `chroot` means) and no way to stop at mount points.
//! `rustix` has both as they are.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Whether the calling thread may wait for a disk or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It serves others as well. What is not in the kernel's caches is given up.
    Never,
    /// It is there for that.
    Allowed,
}

/// Why there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// It can only be told with [`Wait::Allowed`].
    WouldWait,
    System(Errno),
}

/// Where the paths of one share are looked up, and how.
pub(crate) struct Place {
    /// The folder of `chroot`.
    root: Option<OwnedFd>,
    resolve: ResolveFlags,
    wait: Wait,
}

/// What is opened for reading.
///
/// `NONBLOCK` for Unit's reason: pipes, terminals and other devices must not block in `open`.
/// `NOCTTY`, since a terminal must not become ours.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// What an errno says that does not change by asking again.
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
    /// Paths as they are, relative ones from the working folder.
    pub(crate) fn anywhere(resolve: ResolveFlags, wait: Wait) -> Self {
        Self {
            root: None,
            resolve,
            wait,
        }
    }

    /// Paths within `chroot`, which itself is found by following whatever leads there, as in Unit.
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
    // No name has one. Unit's strings end there.
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
    /// How often a walk is begun again that a rename has disturbed.
    const TIMES: usize = 32;
    // A kernel before 5.6 has no `openat2`, and some sandboxes forbid it. Where nothing is confined,
    // nothing is lost without it; everywhere else its absence is an error.
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

    /// Looks at a path, of which something is expected: a text, or an error that does not change.
    #[track_caller]
    fn expect(place: &Place, path: &str, expected: Result<&str, Errno>) {
        let found = match place.open(path.as_bytes()) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                Ok(text)
            }
            Err(OpenError::System(errno)) => Err(errno),
            // A walk in the caches gives up over a rename on the machine, a link whose time of access
            // has to be written, a name that was never looked for.
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
        let told = (0..100).any(|_| place.open(path.as_bytes()).is_ok());
        assert!(told, "is this a kernel before 5.12?");
    }

    #[test]
    fn whoever_may_wait_sees_what_others_see() {
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

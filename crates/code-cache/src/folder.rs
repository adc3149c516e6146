use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// How the names end of what is still being written.
const UNFINISHED: &str = ".unfinished";

/// How old that must be to be taken for what a crash has left behind.
const STALE: Duration = Duration::from_secs(60 * 60);

/// A folder that is this user's own, and held open.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    open: File,
}

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or opened.
    #[error("{}: {error}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is something else.
    #[error("{}: it is {what}, where a folder is expected", path.display())]
    NoFolder {
        /// Where the folder was to be.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// Somebody else could have put code there.
    #[error("{}: {why}", path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let opened = open_folder(&path).and_then(|open| Ok((open.metadata()?, open)));
        let (metadata, open) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(unopened(path, error)),
        };
        if let Some(why) = not_private(&metadata) {
            return Err(OpenError::NotPrivate { path, why });
        }
        let folder = Self { path, open };
        folder.remove_stale();
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The entry of this name, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is not this user's own.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.open, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        not_private(&metadata).map_or(Ok(Some(file)), |why| Err(io::Error::other(why)))
    }

    /// Writes an entry, whole or not at all.
    ///
    /// # Errors
    ///
    /// When it cannot be written. What was there under this name is there still.
    pub(crate) fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{name}.{}.{number}{UNFINISHED}", std::process::id());
        let written = self.write_as(&unfinished, parts).and_then(|()| {
            renameat(&self.open, unfinished.as_str(), &self.open, name)?;
            self.open.sync_all()
        });
        if written.is_err() {
            self.remove(&unfinished);
        }
        written
    }

    fn write_as(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(
            &self.open,
            name,
            flags,
            Mode::from_bits_truncate(0o600),
        )?);
        for part in parts {
            file.write_all(part)?;
        }
        // Without this, the rename may reach the disk before the content does.
        file.sync_all()
    }

    /// Notes that an entry was used.
    pub(crate) fn touch(&self, entry: &File) {
        // It may then be removed earlier than it should be, and no more.
        let _ = entry.set_modified(SystemTime::now());
    }

    pub(crate) fn remove(&self, name: &str) {
        // Whoever was first has removed it, or it stays and is looked at again.
        let _ = unlinkat(&self.open, name, UnlinkatFlags::NoRemoveDir);
    }

    /// Removes entries, least recently used first, until the others have no more than `limit` bytes;
    /// but not this one.
    pub(crate) fn shrink(&self, limit: u64, keep: &str) {
        let mut entries = self.list();
        entries.retain(|entry| !entry.name.ends_with(UNFINISHED));
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        entries.sort_by_key(|entry| entry.used);
        for entry in entries {
            if total <= limit {
                return;
            }
            if entry.name != keep {
                self.remove(&entry.name);
                total -= entry.bytes;
                let path = self.path.join(&entry.name);
                tracing::info!("the compiled component {path:?} makes room for others");
            }
        }
    }

    fn remove_stale(&self) {
        let Some(oldest) = SystemTime::now().checked_sub(STALE) else {
            return;
        };
        for entry in self.list() {
            if entry.name.ends_with(UNFINISHED) && entry.used < oldest {
                self.remove(&entry.name);
            }
        }
    }

    /// What is in the folder. What cannot be looked at is left out.
    fn list(&self) -> Vec<Entry> {
        let listed = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let entry = |found: fs::DirEntry| {
            let metadata = found.metadata().ok().filter(Metadata::is_file)?;
            Some(Entry {
                name: found.file_name().into_string().ok()?,
                bytes: metadata.len(),
                used: metadata.modified().ok()?,
            })
        };
        listed.filter_map(entry).collect()
    }
}

/// What is known of an entry without opening it.
struct Entry {
    name: String,
    bytes: u64,
    used: SystemTime,
}

fn open_folder(path: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(File::from(nix::fcntl::open(path, flags, Mode::empty())?))
}

fn unopened(path: PathBuf, error: io::Error) -> OpenError {
    match fs::symlink_metadata(&path) {
        Ok(there) if there.is_symlink() => OpenError::NoFolder {
            path,
            what: "a symbolic link",
        },
        Ok(there) if !there.is_dir() => OpenError::NoFolder {
            path,
            what: "a file",
        },
        _ => OpenError::Io { path, error },
    }
}

/// Why somebody else may have written there, if so.
fn not_private(metadata: &Metadata) -> Option<String> {
    let user = geteuid().as_raw();
    if metadata.uid() != user {
        return Some(format!(
            "it belongs to user {}, and this process runs as user {user}",
            metadata.uid()
        ));
    }
    let others = metadata.mode() & 0o077;
    (others != 0).then(|| {
        format!(
            "others may use it (mode {:04o}); machine code is only taken from where they may not",
            metadata.mode() & 0o7777
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_make_room_that_have_not_been_used_for_longest() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path().join("a")).unwrap();
        let now = SystemTime::now();
        for (name, age) in [("old", 30), ("older", 40), ("new", 10), ("kept", 50)] {
            folder.write(name, &[&[0; 60], &[0; 40]]).unwrap();
            let entry = folder.read(name).unwrap().unwrap();
            entry.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        folder.shrink(400, "kept");
        assert_eq!(folder.list().len(), 4);
        folder.shrink(399, "kept");
        assert!(folder.read("older").unwrap().is_none());
        folder.touch(&folder.read("old").unwrap().unwrap());
        folder.shrink(299, "kept");
        assert!(folder.read("new").unwrap().is_none());
        assert!(folder.read("old").unwrap().is_some());
        folder.shrink(0, "kept");
        let left: Vec<_> = folder.list().into_iter().map(|entry| entry.name).collect();
        assert_eq!(left, ["kept"]);
    }

    #[test]
    fn what_a_crash_has_left_goes_in_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a");
        let folder = Folder::open(path.clone()).unwrap();
        let (left, at_work) = (format!("left{UNFINISHED}"), format!("at-work{UNFINISHED}"));
        folder.write_as(&left, &[b"half"]).unwrap();
        folder.write_as(&at_work, &[b"half"]).unwrap();
        let entry = folder.read(&left).unwrap().unwrap();
        entry.set_modified(SystemTime::now() - 2 * STALE).unwrap();
        let folder = Folder::open(path).unwrap();
        let names: Vec<_> = folder.list().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, [at_work]);
        // It counts against no limit, and nothing removes it meanwhile.
        folder.shrink(0, "");
        assert_eq!(folder.list().len(), 1);
    }
}

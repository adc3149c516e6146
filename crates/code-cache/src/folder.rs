//! The folder of the cache: privacy, atomic writes, and which entries are removed. What is in an entry is not known
//! here.

use std::collections::hash_map::RandomState;
use std::ffi::CStr;
use std::fs::{self, DirBuilder, File, Metadata};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use parking_lot::Mutex;

/// The suffix of files that are being written.
const UNFINISHED: &str = ".unfinished";

/// Age from which a temporary file without a lock is taken for a leftover of a crash: longer than it takes to lock a
/// file that has just been created.
const STALE: Duration = Duration::from_secs(60);

/// The folder takes at most this part (1/n) of its file system.
const SHARE: u64 = 4;

/// The cache's folder, which is private to this user and held open.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Replaced when the folder has been removed and created again.
    open: Mutex<Arc<File>>,
}

/// Why a folder cannot be used as a cache.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be created or opened.
    #[error("{}: {error}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// It is not a folder.
    #[error("{}: {what}, expected a folder", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Another user could have written machine code there.
    #[error("{}: {why}", path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        // Removes a slash at the end, with which a symlink would be followed.
        let path: PathBuf = path.components().collect();
        let open = open_private(&path)?;
        let folder = Self {
            path,
            open: Mutex::new(Arc::new(open)),
        };
        folder.remove_stale();
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn handle(&self) -> Arc<File> {
        Arc::clone(&self.open.lock())
    }

    /// The entry of this name, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is not this user's own.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&*self.handle(), name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        not_private(&metadata).map_or(Ok(Some(file)), |why| Err(io::Error::other(why)))
    }

    /// Writes an entry atomically. If the disk is full, other entries are removed to make room, least recently used
    /// first, but not those that are `in_use`: the blocks of a mapped file are not freed.
    ///
    /// # Errors
    ///
    /// When it cannot be written. An old entry of this name is unchanged then.
    pub(crate) fn write(
        &self,
        name: &str,
        parts: &[&[u8]],
        in_use: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        match self.write_once(name, parts) {
            Err(error) if is_full(&error) => {
                let needed = parts.iter().map(|part| part.len() as u64).sum();
                self.free(needed, in_use);
                self.write_once(name, parts)
            }
            // The folder has been removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.open_again()?;
                self.write_once(name, parts)
            }
            written => written,
        }
    }

    fn open_again(&self) -> io::Result<()> {
        let open = open_private(&self.path).map_err(io::Error::other)?;
        *self.open.lock() = Arc::new(open);
        Ok(())
    }

    fn write_once(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let folder = self.handle();
        // Random, since process ids are not unique between containers that share a folder.
        let random = RandomState::new().build_hasher().finish();
        let unfinished = format!("{name}.{random:016x}{UNFINISHED}");
        let mut file = create(&folder, &unfinished)?;
        let written = write_all(&mut file, parts)
            .and_then(|()| Ok(renameat(&*folder, unfinished.as_str(), &*folder, name)?));
        if written.is_err() {
            self.remove(&unfinished);
            return written;
        }
        // Not an error: if the name does not survive a crash, the component is compiled again.
        let _ = folder.sync_all();
        Ok(())
    }

    /// Marks an entry as used now.
    pub(crate) fn touch(&self, entry: &File) {
        // On failure the entry may be removed too early, which does no harm.
        let _ = entry.set_modified(SystemTime::now());
    }

    /// Whether the entry is gone; another process may have removed it. If it stays, it is verified again the next time.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let removed = unlinkat(&*self.handle(), name, UnlinkatFlags::NoRemoveDir);
        matches!(removed, Ok(()) | Err(Errno::ENOENT))
    }

    /// `most` bytes, or a quarter of the file system if that is less.
    pub(crate) fn limit(&self, most: u64) -> u64 {
        fstatvfs(&*self.handle()).map_or(most, |system| {
            let total = system.blocks().saturating_mul(system.fragment_size());
            most.min(total / SHARE)
        })
    }

    /// Removes entries, least recently used first, until at most `limit` bytes are left, but not those that are
    /// `in_use`. Other files are neither removed nor counted. Returns by how many bytes `limit` is still exceeded.
    pub(crate) fn shrink(&self, limit: u64, in_use: impl Fn(&str) -> bool) -> u64 {
        self.remove_stale();
        let total: u64 = self.entries().iter().map(|entry| entry.bytes).sum();
        let excess = total.saturating_sub(limit);
        excess.saturating_sub(self.free(excess, in_use))
    }

    /// Removes entries that are not `in_use`, at least `bytes` bytes of them if there are as many. Returns how many
    /// bytes were removed.
    fn free(&self, bytes: u64, in_use: impl Fn(&str) -> bool) -> u64 {
        let mut entries = self.entries();
        entries.sort_by_key(|entry| entry.used);
        let mut freed = 0;
        for entry in entries.iter().filter(|entry| !in_use(&entry.name)) {
            if freed >= bytes {
                break;
            }
            if !self.remove(&entry.name) {
                continue;
            }
            freed += entry.bytes;
            let path = self.path.join(&entry.name);
            tracing::info!(
                "removed cache entry {path:?}: least recently used, and the cache or its disk is full"
            );
        }
        freed
    }

    /// Removes temporary files of processes that were killed.
    fn remove_stale(&self) {
        let Some(oldest) = SystemTime::now().checked_sub(STALE) else {
            return;
        };
        for file in self.list(is_unfinished) {
            // A process that is writing it has it locked.
            let is_left =
                || matches!(self.read(&file.name), Ok(Some(open)) if open.try_lock().is_ok());
            if file.used < oldest && is_left() {
                self.remove(&file.name);
            }
        }
    }

    fn entries(&self) -> Vec<Listed> {
        self.list(is_entry)
    }

    /// The files in the folder whose names `of` accepts. Files whose metadata cannot be read are left out.
    fn list(&self, of: impl Fn(&str) -> bool) -> Vec<Listed> {
        let folder = self.handle();
        // A new handle, since the position in the directory belongs to the handle.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(mut names) = Dir::openat(&*folder, ".", flags, Mode::empty()) else {
            return Vec::new();
        };
        let mut listed = Vec::new();
        for name in names.iter().flatten() {
            let name = name.file_name();
            if let Some(known) = name.to_str().ok().filter(|name| of(name)) {
                listed.extend(look_at(&folder, name, known));
            }
        }
        listed
    }
}

/// A file's metadata.
struct Listed {
    name: String,
    bytes: u64,
    used: SystemTime,
}

fn look_at(folder: &File, name: &CStr, known: &str) -> Option<Listed> {
    let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let used = Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
    (kind == SFlag::S_IFREG).then_some(Listed {
        name: known.to_owned(),
        bytes: u64::try_from(stat.st_size).ok()?,
        used: SystemTime::UNIX_EPOCH + used,
    })
}

/// Whether this is the name of an entry: 64 hexadecimal digits.
fn is_entry(name: &str) -> bool {
    name.len() == 64 && is_hex(name)
}

fn is_unfinished(name: &str) -> bool {
    let parts = name
        .strip_suffix(UNFINISHED)
        .and_then(|name| name.split_once('.'));
    parts.is_some_and(|(entry, random)| is_entry(entry) && random.len() == 16 && is_hex(random))
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Creates a file, which is locked while it is open.
fn create(folder: &File, name: &str) -> io::Result<File> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    // On a file system without locks, it may be taken for a leftover of a crash if writing takes long.
    let _ = file.try_lock();
    Ok(file)
}

fn write_all(file: &mut File, parts: &[&[u8]]) -> io::Result<()> {
    for part in parts {
        file.write_all(part)?;
    }
    // Without this, the rename may reach the disk before the content does.
    file.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn open_private(path: &Path) -> Result<File, OpenError> {
    let opened = open_folder(path).and_then(|open| Ok((open.metadata()?, open)));
    let (metadata, open) = match opened {
        Ok(opened) => opened,
        Err(error) => return Err(unopened(path.to_owned(), error)),
    };
    match not_private(&metadata) {
        None => Ok(open),
        Some(why) => Err(OpenError::NotPrivate {
            path: path.to_owned(),
            why,
        }),
    }
}

fn open_folder(path: &Path) -> io::Result<File> {
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(0o700).create(path)?;
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

/// Why another user may have written to it. `None` if none may.
fn not_private(metadata: &Metadata) -> Option<String> {
    let user = geteuid().as_raw();
    if metadata.uid() != user {
        return Some(format!(
            "belongs to user {}, but this process runs as user {user}",
            metadata.uid()
        ));
    }
    let others = metadata.mode() & 0o077;
    (others != 0).then(|| {
        format!(
            "accessible for other users (mode {:04o}), but machine code is only loaded from private files and folders",
            metadata.mode() & 0o7777
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of an entry, distinguished by its first digit.
    fn name(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn none(_: &str) -> bool {
        false
    }

    fn names(folder: &Folder) -> Vec<String> {
        let mut names: Vec<_> = folder.entries().into_iter().map(|it| it.name).collect();
        names.sort();
        names
    }

    #[test]
    fn least_recently_used_entries_are_removed_first() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("a")).unwrap();
        let now = SystemTime::now();
        let [old, older, new, kept] = ['1', '2', '3', '4'].map(name);
        for (name, age) in [(&old, 30), (&older, 40), (&new, 10), (&kept, 50)] {
            folder.write(name, &[&[0; 60], &[0; 40]], none).unwrap();
            let entry = folder.read(name).unwrap().unwrap();
            entry.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        let is_kept = |name: &str| name == kept;
        assert_eq!(folder.shrink(400, is_kept), 0);
        assert_eq!(folder.entries().len(), 4);
        assert_eq!(folder.shrink(399, is_kept), 0);
        assert!(folder.read(&older).unwrap().is_none());
        folder.touch(&folder.read(&old).unwrap().unwrap());
        assert_eq!(folder.shrink(299, is_kept), 0);
        assert!(folder.read(&new).unwrap().is_none());
        assert!(folder.read(&old).unwrap().is_some());
        assert_eq!(folder.shrink(0, is_kept), 100);
        assert_eq!(names(&folder), [kept]);
    }

    #[test]
    fn other_files_are_neither_counted_nor_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a");
        let folder = Folder::open(&path).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(1_000_000);
        let others = [
            "data.sqlite".to_owned(),
            format!("x{UNFINISHED}"),
            format!("{}.1{UNFINISHED}", name('a')),
            name('A'),
            name('a').repeat(2),
        ];
        for other in &others {
            let file = File::create(path.join(other)).unwrap();
            file.set_len(1 << 30).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        folder.write(&name('1'), &[&[0; 100]], none).unwrap();
        folder.shrink(100, none);
        assert_eq!(names(&folder), [name('1')]);
        folder.shrink(0, none);
        Folder::open(&path).unwrap();
        assert_eq!(names(&folder), [""; 0]);
        for other in &others {
            assert!(path.join(other).is_file(), "{other}");
        }
    }

    #[test]
    fn what_a_crash_has_left_goes_in_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a");
        let folder = Folder::open(&path).unwrap();
        let long_ago = SystemTime::now() - 2 * STALE;
        let [left, at_work, new] = ['1', '2', '3'].map(|digit| {
            let name = format!("{}.{}{UNFINISHED}", name(digit), "0".repeat(16));
            let file = create(&folder.handle(), &name).unwrap();
            (name, file)
        });
        for (_, file) in [&left, &at_work] {
            file.set_modified(long_ago).unwrap();
        }
        drop(left.1);
        drop(new.1);
        let folder = Folder::open(&path).unwrap();
        // It counts against no limit, and nothing removes it meanwhile.
        folder.shrink(0, none);
        let mut names: Vec<_> = folder
            .list(|_| true)
            .into_iter()
            .map(|it| it.name)
            .collect();
        names.sort();
        assert_eq!(names, [at_work.0, new.0]);
    }

    #[test]
    fn a_removed_folder_is_created_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        folder.write(&name('1'), &[b"one"], none).unwrap();
        fs::remove_dir_all(parent.path().join("a")).unwrap();
        assert!(folder.read(&name('1')).unwrap().is_none());
        folder.write(&name('2'), &[b"two"], none).unwrap();
        assert_eq!(names(&folder), [name('2')]);
        assert!(path.join(name('2')).is_file());
        // What is there instead is looked at like any other.
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(folder.write(&name('3'), &[b"three"], none).is_err());
    }

    #[test]
    fn the_limit_is_no_more_than_a_part_of_the_disk() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("a")).unwrap();
        assert_eq!(folder.limit(1), 1);
        assert!(folder.limit(u64::MAX) < u64::MAX / SHARE);
    }
}

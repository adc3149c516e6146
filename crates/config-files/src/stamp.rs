//! What tells one version of a file from another.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A version of a file, or the error of the attempt to look at it.
///
/// Two stamps of one path are equal if the file was neither replaced nor written to in between. The clock of a file
/// system may have ticks of some milliseconds: a file that was changed in the tick in which its stamp was taken may get
/// an equal stamp again. A reader that waits a tick after it has taken the stamp gets the content of that version, or
/// sees a different stamp later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Result<Version, Option<i32>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// The same of the metadata, which also change with the content: a program may set the former back.
    changed: (i64, i64),
}

impl Stamp {
    /// Looks at the file that `path` leads to.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let version = fs::metadata(path).map(|metadata| Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        });
        Self(version.map_err(|error| error.raw_os_error()))
    }

    /// Whether the file was last changed before `time`, by the clock of its file system. So is one that is missing.
    #[must_use]
    pub fn is_older_than(&self, time: SystemTime) -> bool {
        let Ok(version) = self.0 else { return true };
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let (seconds, nanoseconds) = version.changed;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
        Duration::new(seconds, nanoseconds.min(999_999_999)) < since
    }

    /// Whether there was a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.0.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Instant;

    use super::*;

    /// Waits until the stamp of `path` is another one: a write in the same tick is not seen.
    fn changes(path: &Path, write: impl Fn()) -> bool {
        let before = Stamp::of(path);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            write();
            if Stamp::of(path) != before {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(!Stamp::of(&path).exists());
        fs::write(&path, "one").unwrap();
        assert!(Stamp::of(&path).exists());
        assert_eq!(Stamp::of(&path), Stamp::of(&path));
        assert!(changes(&path, || fs::write(&path, "two").unwrap()));
        assert!(changes(&path, || {
            fs::write(folder.path().join("b"), "two").unwrap();
            fs::rename(folder.path().join("b"), &path).unwrap();
        }));
        let before = Stamp::of(&path);
        fs::remove_file(&path).unwrap();
        assert_ne!(Stamp::of(&path), before);
    }

    #[test]
    fn a_file_is_as_old_as_its_last_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(Stamp::of(&path).is_older_than(SystemTime::now()));
        fs::write(&path, "one").unwrap();
        let hour = Duration::from_secs(3600);
        assert!(!Stamp::of(&path).is_older_than(SystemTime::now() - hour));
        assert!(Stamp::of(&path).is_older_than(SystemTime::now() + hour));
    }

    #[test]
    fn a_symlink_that_leads_elsewhere_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "text").unwrap();
        fs::write(path("b"), "text").unwrap();
        symlink("a", path("link")).unwrap();
        let before = Stamp::of(&path("link"));
        fs::remove_file(path("link")).unwrap();
        symlink("b", path("link")).unwrap();
        assert_ne!(Stamp::of(&path("link")), before);
        assert_eq!(Stamp::of(&path("link")), Stamp::of(&path("b")));
    }
}

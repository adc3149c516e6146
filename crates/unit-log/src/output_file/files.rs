//! Output files by path: opened once, reopened for log rotation, flushed at the end.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use parking_lot::Mutex;

use super::queue::{self, FileQueue, QueueLimits};
use crate::line_owner::LineOwner;

/// Why a file cannot be used for output.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// `open(2)` failed.
    #[error("{}: cannot open for output: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// It is a pipe without a reader, for which opening would block, or a socket.
    #[error(
        "{}: cannot open for output: a socket, or a pipe without a reader",
        path.display()
    )]
    NoReader {
        /// The file.
        path: PathBuf,
    },
    /// Output can only be appended to regular files, pipes and character devices.
    #[error(
        "{}: cannot be used for output: not a regular file, pipe or character device",
        path.display()
    )]
    Kind {
        /// The file.
        path: PathBuf,
    },
}

/// The open output files, by path: two users of a path share one open file.
///
/// Clones share the files. A file is closed when its last [`OutputFile`] is dropped, unless it is kept open.
#[derive(Clone, Default)]
pub struct OutputFiles(Arc<FilesByPath>);

#[derive(Default)]
struct FilesByPath {
    by_path: Mutex<HashMap<PathBuf, Weak<FileQueue>>>,
    /// Files that stay open without a user.
    kept: Mutex<Vec<Arc<FileQueue>>>,
    limits: Arc<QueueLimits>,
}

impl OutputFiles {
    /// The file of this path, which is opened unless it is open already.
    ///
    /// A missing file is created, with the mode that the process's `umask` leaves of 0666. A pipe needs a reader. Lines
    /// that a pipe or device does not accept for a second are discarded.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is a directory, a socket or a block device.
    pub fn open(&self, path: &Path) -> Result<OutputFile, OutputError> {
        let file = self.closed(path);
        if !file.0.is_open() {
            file.0.open(open(path)?);
        }
        Ok(file)
    }

    /// The file of this path, without opening it. Until [`open_closed`](Self::open_closed) or
    /// [`reopen`](Self::reopen) succeeds for it, its lines are discarded.
    #[must_use]
    pub fn closed(&self, path: &Path) -> OutputFile {
        let files = &self.0.by_path;
        let mut files = files.lock();
        if let Some(file) = files.get(path).and_then(Weak::upgrade) {
            return OutputFile(file);
        }
        files.retain(|_, file| file.strong_count() > 0);
        let file = OutputFile::new(path, None, Arc::clone(&self.0.limits), false);
        files.insert(path.to_owned(), Arc::downgrade(&file.0));
        file
    }

    /// Opens those that are not open yet. Returns the errors of those that cannot be opened.
    #[must_use]
    pub fn open_closed(&self) -> Vec<OutputError> {
        self.open_where(|file| !file.is_open())
    }

    /// Opens all paths again, after log rotation has renamed the files. Where that fails, the file that is open stays
    /// in use. Returns the errors.
    #[must_use]
    pub fn reopen(&self) -> Vec<OutputError> {
        self.open_where(|_| true)
    }

    /// Keeps the files open until this value is dropped. For the shutdown of the server: applications that are dropped
    /// with their requests print last lines, which [`flush`](Self::flush) writes.
    pub fn keep_open(&self) {
        *self.0.kept.lock() = self.all();
    }

    /// Writes what waits, on threads of its own, and blocks until that is done, for `limit` at most. What a pipe, a
    /// device or a stalled disk does not accept within that time is discarded.
    pub fn flush(&self, limit: Duration) {
        queue::flush(self.all(), limit);
    }

    fn open_where(&self, concerns: impl Fn(&FileQueue) -> bool) -> Vec<OutputError> {
        let mut errors = Vec::new();
        for file in self.all().iter().filter(|file| concerns(file)) {
            match open(&file.path) {
                Ok(new) => file.open(new),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    fn all(&self) -> Vec<Arc<FileQueue>> {
        let files = &self.0.by_path;
        let files = files.lock();
        files.values().filter_map(Weak::upgrade).collect()
    }
}

/// An open file that lines are appended to. Clones share it, and only clones are equal.
#[derive(Clone)]
pub struct OutputFile(Arc<FileQueue>);

impl OutputFile {
    /// A file that the process was started with. `path` is its name in the log.
    ///
    /// Threads that print write to it themselves, and block if it does.
    #[must_use]
    pub fn inherited(path: impl AsRef<Path>, file: File) -> Self {
        Self::new(path.as_ref(), Some(file), Arc::default(), true)
    }

    fn new(
        path: &Path,
        file: Option<File>,
        limits: Arc<QueueLimits>,
        writes_at_once: bool,
    ) -> Self {
        let queue = FileQueue::new(path, file, limits, writes_at_once);
        Self(Arc::new(queue))
    }

    /// Appends a line of a guest, or a piece of one. `continues` says that the owner's last piece belongs to the same
    /// line.
    ///
    /// Another thread writes it, within some milliseconds. Lines that cannot be written, or that come faster than they
    /// are written, are discarded, and the log has their number.
    pub(crate) fn append(&self, owner: LineOwner, continues: bool, bytes: &[u8]) {
        self.0.add_piece(owner, continues, bytes);
    }

    /// Appends `count` complete lines, such as those of an access log. Discards them under the same conditions as
    /// lines of guests.
    pub fn write_lines(&self, lines: &[u8], count: u64) {
        self.0.add_lines(count, lines);
    }
}

impl PartialEq for OutputFile {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OutputFile {}

impl fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutputFile").field(&self.0.path).finish()
    }
}

impl fmt::Debug for OutputFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.0.by_path.lock();
        f.debug_set().entries(files.keys()).finish()
    }
}

fn open(path: &Path) -> Result<File, OutputError> {
    // Without O_NONBLOCK, opening a pipe blocks until it has a reader, and writing to it or to a stopped terminal may
    // block forever. Without O_NOCTTY, a terminal could become the server's controlling terminal.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let failed = |error: io::Error| {
        let path = path.to_owned();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENXIO) => OutputError::NoReader { path },
            _ => OutputError::Open { path, error },
        }
    };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if accepts_output(metadata.file_type()) {
        Ok(file)
    } else {
        Err(OutputError::Kind {
            path: path.to_owned(),
        })
    }
}

fn accepts_output(kind: FileType) -> bool {
    kind.is_file() || kind.is_char_device() || kind.is_fifo()
}

#[cfg(test)]
impl OutputFiles {
    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.0.limits.waiting()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::RequestId;
    use crate::line_owner::StandardStream;

    fn owner() -> LineOwner {
        LineOwner {
            request: RequestId::next(),
            stream: StandardStream::Stdout,
        }
    }

    fn print(file: &OutputFile, bytes: &[u8]) {
        file.append(owner(), false, bytes);
    }

    #[test]
    fn a_missing_file_is_created_and_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let files = OutputFiles::default();
        print(&files.open(&path).unwrap(), b"one\n");
        print(&files.open(&path).unwrap(), b"two\n");
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_path_is_opened_once_while_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let files = OutputFiles::default();
        let file = files.open(&path).unwrap();
        assert_eq!(files.open(&path).unwrap(), file);
        assert_eq!(files.closed(&path), file);
        let weak = Arc::downgrade(&file.0);
        drop(file);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_file_that_output_cannot_be_appended_to_is_refused_by_name_and_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let missing = folder.path().join("missing/out");
        for (path, reason) in [
            (&pipe, "without a reader"),
            (&socket, "a socket"),
            (&missing, "No such file or directory"),
            (&folder.path().to_owned(), "Is a directory"),
        ] {
            let error = OutputFiles::default().open(path).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn devices_are_written_to() {
        let files = OutputFiles::default();
        let null = files.open(Path::new("/dev/null")).unwrap();
        print(&null, b"gone\n");
        assert_eq!(null.0.losses.count(), 0);
        let full = files.open(Path::new("/dev/full")).unwrap();
        for _ in 0..3 {
            print(&full, b"lost\n");
        }
        assert_eq!(full.0.losses.count(), 3);
    }

    #[test]
    fn a_pipe_that_is_not_read_loses_lines_and_blocks_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .unwrap();
        let file = OutputFiles::default().open(&path).unwrap();
        let line = [[b'x'; 4999].as_slice(), b"\n"].concat();
        for _ in 0..1000 {
            print(&file, &line);
        }
        assert!(file.0.losses.count() > 900);
        // A line that was cut off by a full pipe is ended before the next.
        let mut received = Vec::new();
        let mut read = || {
            let _ = io::Read::read_to_end(&mut &reader, &mut received);
            received.len()
        };
        assert!(read() > 0);
        print(&file, b"next\n");
        read();
        assert!(received.ends_with(b"\nnext\n"));
        drop(reader);
        print(&file, b"unread\n");
    }

    #[test]
    fn reopening_follows_the_path_and_keeps_the_old_file_on_failure() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("out"), folder.path().join("out.1"));
        let files = OutputFiles::default();
        let file = files.open(&path).unwrap();
        print(&file, b"one\n");
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(files.reopen().len(), 1);
        print(&file, b"two\n");
        fs::remove_dir(&path).unwrap();
        assert!(files.reopen().is_empty());
        print(&file, b"three\n");
        assert_eq!(fs::read(&moved).unwrap(), b"one\ntwo\n");
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
    }

    #[test]
    fn lines_printed_while_the_runtime_ends_are_written_by_a_later_flush() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let files = OutputFiles::default();
        let file = files.open(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        /// Prints when it is dropped, as the end of a guest does.
        struct LastLine(OutputFile);
        impl Drop for LastLine {
            fn drop(&mut self) {
                print(&self.0, b"last\n");
            }
        }
        runtime.spawn(async move {
            let _last = LastLine(file);
            std::future::pending::<()>().await;
        });
        runtime.block_on(tokio::task::yield_now());
        files.keep_open();
        drop(runtime);
        files.flush(Duration::from_secs(60));
        assert_eq!(fs::read(&path).unwrap(), b"last\n");
    }

    #[test]
    fn a_file_can_be_opened_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/out");
        let files = OutputFiles::default();
        let file = files.closed(&path);
        print(&file, b"lost\n");
        assert_eq!(files.open_closed().len(), 1);
        assert!(files.open(&path).is_err());
        fs::create_dir(folder.path().join("later")).unwrap();
        assert!(files.open_closed().is_empty());
        print(&file, b"there\n");
        assert_eq!(fs::read(&path).unwrap(), b"there\n");
        assert_eq!(file.0.losses.count(), 1);
    }
}

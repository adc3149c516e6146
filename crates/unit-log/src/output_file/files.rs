//! Files that guests print to.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::losses::Losses;
use super::queue::{self, Bounds, Loss, Queue};
use crate::line_owner::Owner;

/// A file that cannot take what guests print.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The system does not open it.
    #[error("{}: cannot be opened for output: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// Opening it would mean to wait for a reader.
    #[error(
        "{}: cannot be opened for output: it is a socket, or a pipe that nobody reads",
        path.display()
    )]
    NoReader {
        /// The file.
        path: PathBuf,
    },
    /// It is none of the kinds of file that output can be appended to.
    #[error(
        "{}: is neither a regular file nor a pipe or a character device",
        path.display()
    )]
    Kind {
        /// The file.
        path: PathBuf,
    },
}

/// The files that guests print to, by path: those of the same path are the same open file.
///
/// Clones are the same. A file is closed when no application has it any more, unless it is kept.
#[derive(Clone, Debug, Default)]
pub struct OutputFiles(Arc<Files>);

#[derive(Debug, Default)]
struct Files {
    by_path: Mutex<HashMap<PathBuf, Weak<Inner>>>,
    /// Files that stay open without an application.
    kept: Mutex<Vec<Arc<Inner>>>,
    bounds: Arc<Bounds>,
}

impl OutputFiles {
    /// The open file of this path; opens it, unless it is open already.
    ///
    /// The file is made, with the process's file mode mask, if it is not there. No thread that serves
    /// waits for it: a pipe needs a reader, and what a pipe or device does not take for a second is lost.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is a folder, a socket or a block device.
    pub fn open(&self, path: &Path) -> Result<OutputFile, OutputError> {
        let file = self.closed(path);
        if !file.0.queue.is_open() {
            file.0.queue.open(open(path)?);
        }
        Ok(file)
    }

    /// The file of this path, which loses all that is printed until [`open_rest`](Self::open_rest)
    /// or [`reopen`](Self::reopen) succeeds for it.
    #[must_use]
    pub fn closed(&self, path: &Path) -> OutputFile {
        let files = &self.0.by_path;
        let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(path).and_then(Weak::upgrade) {
            return OutputFile(file);
        }
        files.retain(|_, file| file.strong_count() > 0);
        let file = OutputFile::new(path, None, Arc::clone(&self.0.bounds), false);
        files.insert(path.to_owned(), Arc::downgrade(&file.0));
        file
    }

    /// Opens those that are not open, and returns why some cannot be.
    #[must_use]
    pub fn open_rest(&self) -> Vec<OutputError> {
        self.open_where(|file| !file.queue.is_open())
    }

    /// Opens all of them anew, after someone has moved the old ones away. Where that fails, the old
    /// one goes on.
    #[must_use]
    pub fn reopen(&self) -> Vec<OutputError> {
        self.open_where(|_| true)
    }

    /// Has the files that are open now stay open for as long as this value lives. For the end of the server:
    /// applications that are dropped with their requests print last lines, which [`flush`](Self::flush) writes.
    pub fn keep_open(&self) {
        *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner) = self.all();
    }

    /// Writes what waits to be written, for as long as `limit` at most, on threads of its own. Blocks. What a pipe
    /// or a device does not take within that time is lost, and so is what is to be written behind a disk that stalls.
    pub fn flush(&self, limit: Duration) {
        let queues = self
            .all()
            .iter()
            .map(|file| Arc::clone(&file.queue))
            .collect();
        queue::flush(queues, limit);
    }

    fn open_where(&self, concerns: impl Fn(&Inner) -> bool) -> Vec<OutputError> {
        let mut errors = Vec::new();
        for file in self.all().iter().filter(|file| concerns(file)) {
            match open(&file.queue.path) {
                Ok(new) => file.queue.open(new),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    fn all(&self) -> Vec<Arc<Inner>> {
        let files = &self.0.by_path;
        let files = files.lock().unwrap_or_else(PoisonError::into_inner);
        files.values().filter_map(Weak::upgrade).collect()
    }
}

/// One of [`OutputFiles`]. Clones are the same, and only clones are equal.
#[derive(Clone)]
pub struct OutputFile(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    #[cfg(test)]
    losses: Arc<FileLosses>,
}

impl OutputFile {
    /// A file that is open already, such as one that the process was started with. `path` is what
    /// the log calls it.
    ///
    /// It is written to on the threads that print, which wait if it makes them wait.
    #[must_use]
    pub fn inherited(path: impl AsRef<Path>, file: File) -> Self {
        Self::new(path.as_ref(), Some(file), Arc::default(), true)
    }

    fn new(path: &Path, file: Option<File>, bounds: Arc<Bounds>, writes_at_once: bool) -> Self {
        let losses = Arc::new(FileLosses::new(path));
        let lose = {
            let losses = Arc::clone(&losses);
            move |lines, loss| losses.add(lines, loss)
        };
        let queue = Queue::new(path, file, bounds, writes_at_once, lose);
        Self(Arc::new(Inner {
            queue: Arc::new(queue),
            #[cfg(test)]
            losses,
        }))
    }

    /// Appends a line, or a piece of one that goes on. `continues` says that the owner's last piece
    /// belongs to the same line.
    ///
    /// It is written within some milliseconds, elsewhere. What cannot be written, or comes faster than
    /// it is written, is lost, and the log tells how many lines of all guests were.
    pub(crate) fn append(&self, owner: Owner, continues: bool, bytes: &[u8]) {
        self.0.queue.add_piece(owner, continues, bytes);
    }

    /// Appends whole lines that are no guest's, `count` of them. What cannot be written is lost like
    /// guests' lines.
    pub fn write_lines(&self, lines: &[u8], count: u64) {
        self.0.queue.add_lines(count, lines);
    }
}

/// Counts the lines of a file that are lost, and has the log say how many and why.
struct FileLosses {
    /// Of the last line that was lost.
    loss: Arc<Mutex<Loss>>,
    losses: Losses,
}

impl FileLosses {
    fn new(path: &Path) -> Self {
        let loss = Arc::new(Mutex::new(Loss::Closed));
        let losses = Losses::new({
            let (path, loss) = (path.to_owned(), Arc::clone(&loss));
            move |lines| {
                let path = path.display();
                let loss = loss.lock().unwrap_or_else(PoisonError::into_inner);
                tracing::warn!("{path}: {lines} lines of output were lost: {loss}");
            }
        });
        Self { loss, losses }
    }

    fn add(&self, lines: u64, loss: Loss) {
        *self.loss.lock().unwrap_or_else(PoisonError::into_inner) = loss;
        self.losses.add_all(lines);
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it is not open"),
            Self::TooFast => f.write_str("they come faster than they are written"),
            Self::Write(error) => write!(f, "it cannot be written to: {error}"),
        }
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
        f.debug_tuple("OutputFile")
            .field(&self.0.queue.path)
            .finish()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.path.fmt(f)
    }
}

fn open(path: &Path) -> Result<File, OutputError> {
    // Without O_NONBLOCK, opening a pipe waits for its reader, and writing to it or to a terminal
    // that is stopped waits without end. Without O_NOCTTY, a terminal could become the server's.
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
    if takes_output(metadata.file_type()) {
        Ok(file)
    } else {
        Err(OutputError::Kind {
            path: path.to_owned(),
        })
    }
}

fn takes_output(kind: FileType) -> bool {
    kind.is_file() || kind.is_char_device() || kind.is_fifo()
}

#[cfg(test)]
impl OutputFiles {
    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.0.bounds.waiting()
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
    use crate::line_owner::Stream;

    fn owner() -> Owner {
        Owner {
            request: RequestId::next(),
            stream: Stream::Stdout,
        }
    }

    fn print(file: &OutputFile, bytes: &[u8]) {
        file.append(owner(), false, bytes);
    }

    #[test]
    fn a_file_is_made_and_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let files = OutputFiles::default();
        print(&files.open(&path).unwrap(), b"one\n");
        print(&files.open(&path).unwrap(), b"two\n");
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_path_is_opened_once_while_somebody_has_it() {
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
    fn what_is_no_file_for_output_is_refused_by_name_and_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let missing = folder.path().join("missing/out");
        for (path, reason) in [
            (&pipe, "nobody reads"),
            (&socket, "is a socket"),
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
        assert_eq!(null.0.losses.losses.count(), 0);
        let full = files.open(Path::new("/dev/full")).unwrap();
        for _ in 0..3 {
            print(&full, b"lost\n");
        }
        assert_eq!(full.0.losses.losses.count(), 3);
    }

    #[test]
    fn a_pipe_that_is_not_emptied_loses_lines_and_holds_nobody_up() {
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
        assert!(file.0.losses.losses.count() > 900);
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
        print(&file, b"nobody\n");
    }

    #[test]
    fn reopening_follows_the_name_and_keeps_the_old_file_if_it_cannot() {
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
    fn lines_that_come_while_the_runtime_ends_are_written_by_a_later_flush() {
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
        assert_eq!(files.open_rest().len(), 1);
        assert!(files.open(&path).is_err());
        fs::create_dir(folder.path().join("later")).unwrap();
        assert!(files.open_rest().is_empty());
        print(&file, b"there\n");
        assert_eq!(fs::read(&path).unwrap(), b"there\n");
        assert_eq!(file.0.losses.losses.count(), 1);
    }
}

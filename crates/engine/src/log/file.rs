//! Files that guests print to.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::Stream;
use super::losses::Losses;
use crate::RequestId;

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
/// Clones are the same. A file is closed when no application has it any more.
#[derive(Clone, Debug, Default)]
pub struct OutputFiles(Arc<Mutex<HashMap<PathBuf, Weak<Inner>>>>);

impl OutputFiles {
    /// The open file of this path; opens it, unless it is open already.
    ///
    /// The file is made, with the process's file mode mask, if it is not there. It is never waited
    /// for: a pipe needs a reader, and what a pipe or device does not take at once is lost.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is a folder, a socket or a block device.
    pub fn open(&self, path: &Path) -> Result<OutputFile, OutputError> {
        let file = self.closed(path);
        let mut state = file.0.state();
        if state.file.is_none() {
            state.file = Some(open(path)?);
        }
        drop(state);
        Ok(file)
    }

    /// The file of this path, which loses all that is printed until [`open_rest`](Self::open_rest)
    /// or [`reopen`](Self::reopen) succeeds for it.
    #[must_use]
    pub fn closed(&self, path: &Path) -> OutputFile {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(path).and_then(Weak::upgrade) {
            return OutputFile(file);
        }
        files.retain(|_, file| file.strong_count() > 0);
        let file = OutputFile::new(path, None);
        files.insert(path.to_owned(), Arc::downgrade(&file.0));
        file
    }

    /// Opens those that are not open, and returns why some cannot be.
    #[must_use]
    pub fn open_rest(&self) -> Vec<OutputError> {
        self.each(|file| file.state().file.is_none())
    }

    /// Opens all of them anew, after someone has moved the old ones away. Where that fails, the old
    /// one goes on.
    #[must_use]
    pub fn reopen(&self) -> Vec<OutputError> {
        self.each(|_| true)
    }

    fn each(&self, concerns: impl Fn(&Inner) -> bool) -> Vec<OutputError> {
        let files: Vec<_> = {
            let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            files.values().filter_map(Weak::upgrade).collect()
        };
        let mut errors = Vec::new();
        for file in files.iter().filter(|file| concerns(file)) {
            match open(&file.path) {
                Ok(new) => file.state().replace(new),
                Err(error) => errors.push(error),
            }
        }
        errors
    }
}

/// One of [`OutputFiles`]. Clones are the same, and only clones are equal.
#[derive(Clone)]
pub struct OutputFile(Arc<Inner>);

impl OutputFile {
    /// A file that is open already, such as one that the process was started with. `path` is what
    /// the log calls it.
    ///
    /// Writes wait if it makes them wait.
    #[must_use]
    pub fn inherited(path: impl AsRef<Path>, file: File) -> Self {
        Self::new(path.as_ref(), Some(file))
    }

    fn new(path: &Path, file: Option<File>) -> Self {
        let error = Arc::new(Mutex::new(None::<io::Error>));
        let losses = Losses::new({
            let (path, error) = (path.to_owned(), Arc::clone(&error));
            move |lines| {
                let error = error.lock().unwrap_or_else(PoisonError::into_inner).take();
                let error = error.map_or_else(
                    || "it is not open".to_owned(),
                    |error| format!("it cannot be written to: {error}"),
                );
                let path = path.display();
                tracing::warn!("{path}: {lines} lines of output were lost: {error}");
            }
        });
        Self(Arc::new(Inner {
            path: path.to_owned(),
            state: Mutex::new(State {
                file,
                line: Line::Ended,
            }),
            error,
            losses,
        }))
    }

    /// Appends a line, or a piece of one that goes on. `continues` says that the owner's last piece
    /// belongs to the same line.
    ///
    /// What cannot be written is lost, and the log tells how many lines of all guests were.
    pub(super) fn append(&self, owner: Owner, continues: bool, bytes: &[u8]) {
        let appended = self.0.state().append(owner, continues, bytes);
        if let Err(error) = appended {
            self.lose(1, error);
        }
    }
}

impl OutputFile {
    /// Appends whole lines that are no guest's, `count` of them. What cannot be written is lost like
    /// guests' lines.
    pub fn write_lines(&self, lines: &[u8], count: u64) {
        let appended = self.0.state().append_lines(lines);
        if let Err(error) = appended {
            self.lose(count, error);
        }
    }

    /// Has the log tell that so many lines were lost, and why; without a reason, since the file is
    /// not open.
    pub fn lose(&self, count: u64, error: Option<io::Error>) {
        *self.0.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.0.losses.add_all(count);
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

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) request: RequestId,
    pub(super) stream: Stream,
}

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    /// Why the last line was lost; none if the file was not open.
    error: Arc<Mutex<Option<io::Error>>>,
    losses: Losses,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

struct State {
    file: Option<File>,
    line: Line,
}

/// How what we wrote last ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Ended,
    /// With a piece of a line, which its owner may go on with.
    Begun(Owner),
    /// With a piece of a line whose rest is lost.
    Torn,
}

impl State {
    fn replace(&mut self, new: File) {
        self.file = Some(new);
        self.line = Line::Ended;
    }

    fn append_lines(&mut self, lines: &[u8]) -> Result<(), Option<io::Error>> {
        let file = self.file.as_mut().ok_or(None)?;
        if self.line != Line::Ended {
            write(file, b"\n").map_err(|(_, error)| Some(error))?;
            self.line = Line::Ended;
        }
        write(file, lines).map_err(|(written, error)| {
            if written > 0 {
                self.line = Line::Torn;
            }
            Some(error)
        })
    }

    /// Fails with no error where no file is open.
    fn append(
        &mut self,
        owner: Owner,
        continues: bool,
        bytes: &[u8],
    ) -> Result<(), Option<io::Error>> {
        let file = self.file.as_mut().ok_or(None)?;
        let goes_on = continues && self.line == Line::Begun(owner);
        if self.line != Line::Ended && !goes_on {
            write(file, b"\n").map_err(|(_, error)| Some(error))?;
            self.line = Line::Ended;
        }
        match write(file, bytes) {
            Ok(()) if bytes.ends_with(b"\n") => self.line = Line::Ended,
            Ok(()) => self.line = Line::Begun(owner),
            Err((written, error)) => {
                if written > 0 || goes_on {
                    self.line = Line::Torn;
                }
                return Err(Some(error));
            }
        }
        Ok(())
    }
}

/// Writes all in one go if the system does. An error says how much it took before.
fn write(file: &mut File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
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
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

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
        assert_eq!(null.0.losses.count(), 0);
        let full = files.open(Path::new("/dev/full")).unwrap();
        for _ in 0..3 {
            print(&full, b"lost\n");
        }
        assert_eq!(full.0.losses.count(), 3);
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
        assert_eq!(file.0.losses.count(), 1);
    }
}

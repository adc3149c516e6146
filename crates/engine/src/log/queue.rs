//! Output on its way to a file: no thread that serves waits for a disk, or for who reads a pipe.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::file::Owner;

/// Bytes that wait to be written to one file. Two applications that share it may print all that they
/// may at once.
const MAX_WAITING: usize = 4 << 20;

/// Bytes that wait to be written to all files.
const MAX_WAITING_IN_ALL: usize = 64 << 20;

/// How long output is gathered, so that one write does for many lines.
const GATHER: Duration = Duration::from_millis(10);

/// Bytes that are written at once, without being gathered any longer.
const URGENT: usize = 256 << 10;

/// Files that are written to at the same time. Others wait, so that a disk that stalls does not take
/// all threads for what blocks.
const MAX_WRITERS: usize = 16;

/// How long a pipe may take nothing before the rest is lost.
const PIPE_STALL: Duration = Duration::from_secs(1);

/// How often a full pipe, or another thread's writing, is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Why a line is lost.
#[derive(Debug)]
pub(super) enum Loss {
    /// No file is open.
    Closed,
    /// Too much waits to be written.
    TooFast,
    /// The system does not take it.
    Write(io::Error),
}

/// What all files share.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Bytes that wait to be written.
    waiting: AtomicUsize,
    writers: Arc<Semaphore>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            writers: Arc::new(Semaphore::new(MAX_WRITERS)),
        }
    }
}

/// The output for one file. It is written on threads for what blocks; outside of a runtime, or if
/// `writes_at_once`, on the thread that adds it.
pub(super) struct Queue {
    pub(super) path: PathBuf,
    bounds: Arc<Bounds>,
    writes_at_once: bool,
    state: Mutex<State>,
    /// Says that so many lines are lost.
    lose: Box<dyn Fn(u64, Loss) + Send + Sync>,
}

struct State {
    file: Option<Arc<File>>,
    /// What waits to be written.
    waiting: Vec<u8>,
    /// How what was added last ends.
    line: Line,
    /// What is in the file ends within a line, whose rest is lost.
    is_torn: bool,
    writer: Writer,
}

/// How what was added last ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Ended,
    /// With a piece of a line, which its owner may go on with.
    Begun(Owner),
    /// With a piece of a line whose rest is lost.
    Torn,
}

/// Who writes what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    None,
    /// A task that gathers first.
    Gathering,
    /// A thread, until nothing waits any more.
    Writing,
}

impl Queue {
    pub(super) fn new(
        path: &Path,
        file: Option<File>,
        bounds: Arc<Bounds>,
        writes_at_once: bool,
        lose: impl Fn(u64, Loss) + Send + Sync + 'static,
    ) -> Self {
        Self {
            path: path.to_owned(),
            bounds,
            writes_at_once,
            state: Mutex::new(State {
                file: file.map(Arc::new),
                waiting: Vec::new(),
                line: Line::Ended,
                is_torn: false,
                writer: Writer::None,
            }),
            lose: Box::new(lose),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().file.is_some()
    }

    /// Has this file written to from now on. What waits goes there, too.
    pub(super) fn open(&self, file: File) {
        let mut state = self.state();
        state.file = Some(Arc::new(file));
        state.is_torn = false;
        if state.waiting.is_empty() {
            state.line = Line::Ended;
        }
    }

    /// Adds a line, or a piece of one that goes on. `continues` says that the owner's last piece
    /// belongs to the same line.
    pub(super) fn add_piece(self: &Arc<Self>, owner: Owner, continues: bool, bytes: &[u8]) {
        let mut state = self.state();
        let goes_on = continues && state.line == Line::Begun(owner);
        if let Err(loss) = self.add(&mut state, goes_on, bytes) {
            if goes_on {
                state.line = Line::Torn;
            }
            drop(state);
            return (self.lose)(1, loss);
        }
        if !bytes.ends_with(b"\n") {
            state.line = Line::Begun(owner);
        }
        self.write_soon(state);
    }

    /// Adds `count` whole lines.
    pub(super) fn add_lines(self: &Arc<Self>, count: u64, lines: &[u8]) {
        let mut state = self.state();
        match self.add(&mut state, false, lines) {
            Ok(()) => self.write_soon(state),
            Err(loss) => {
                drop(state);
                (self.lose)(count, loss);
            }
        }
    }

    fn add(&self, state: &mut State, goes_on: bool, bytes: &[u8]) -> Result<(), Loss> {
        if state.file.is_none() {
            return Err(Loss::Closed);
        }
        let ends_another = state.line != Line::Ended && !goes_on;
        let added = bytes.len() + usize::from(ends_another);
        if state.waiting.len() + added > MAX_WAITING || !self.bounds.take(added) {
            return Err(Loss::TooFast);
        }
        if ends_another {
            state.waiting.push(b'\n');
        }
        state.waiting.extend_from_slice(bytes);
        state.line = Line::Ended;
        Ok(())
    }

    /// Sees to it that what waits is written.
    fn write_soon(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let is_urgent = state.waiting.len() >= URGENT;
        match state.writer {
            Writer::Writing => return,
            Writer::Gathering if !is_urgent => return,
            Writer::Gathering | Writer::None => {}
        }
        let runtime = match Handle::try_current() {
            Ok(runtime) if !self.writes_at_once => runtime,
            _ => {
                state.writer = Writer::Writing;
                drop(state);
                return self.write(Duration::ZERO);
            }
        };
        if state.writer == Writer::None {
            state.writer = Writer::Gathering;
            drop(state);
            runtime.spawn(Gathering(Arc::clone(self)).gather());
        } else if let Ok(permit) = Arc::clone(&self.bounds.writers).try_acquire_owned() {
            state.writer = Writer::Writing;
            drop(state);
            self.write_on(&runtime, permit);
        }
    }

    fn write_on(self: &Arc<Self>, runtime: &Handle, permit: OwnedSemaphorePermit) {
        let mut turn = Turn(Some(Arc::clone(self)));
        runtime.spawn_blocking(move || {
            if let Some(queue) = turn.0.take() {
                queue.write(PIPE_STALL);
            }
            drop(permit);
        });
    }

    /// Whether the caller is to write what waits; if not, another does.
    fn begin_writing(&self) -> bool {
        let mut state = self.state();
        let begins = state.writer != Writer::Writing;
        if begins {
            state.writer = Writer::Writing;
        }
        begins
    }

    /// Writes what waits, and waits for another that writes, until `deadline` at most.
    pub(super) fn flush(&self, deadline: Instant) {
        if self.begin_writing() {
            self.write(Duration::ZERO);
        }
        while self.state().writer != Writer::None && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
    }

    /// Writes until nothing waits. No lock is held meanwhile.
    fn write(&self, patience: Duration) {
        loop {
            let (file, lines, mut is_torn) = {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.writer = Writer::None;
                    return;
                }
                (
                    state.file.clone(),
                    mem::take(&mut state.waiting),
                    state.is_torn,
                )
            };
            let written = match &file {
                Some(file) => write_lines(file, &lines, &mut is_torn, patience),
                None => Err((0, Loss::Closed)),
            };
            self.bounds.give_back(lines.len());
            let mut state = self.state();
            let is_same = match (&state.file, &file) {
                (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                _ => false,
            };
            if is_same {
                state.is_torn = is_torn;
            }
            drop(state);
            if let Err((written, loss)) = written {
                (self.lose)(count_lines(&lines[written..]), loss);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that waits until there is more to write. If it ends early, with its runtime, the next one who
/// adds something sees to the writing.
struct Gathering(Arc<Queue>);

impl Gathering {
    async fn gather(self) {
        tokio::time::sleep(GATHER).await;
        let permit = Arc::clone(&self.0.bounds.writers).acquire_owned().await;
        if let Ok(permit) = permit
            && self.0.begin_writing()
        {
            self.0.write_on(&Handle::current(), permit);
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.writer == Writer::Gathering {
            state.writer = Writer::None;
        }
    }
}

/// The turn of a thread to write. If it never gets it, since its runtime ends, another has it.
struct Turn(Option<Arc<Queue>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            queue.state().writer = Writer::None;
        }
    }
}

impl Bounds {
    fn take(&self, bytes: usize) -> bool {
        let room = |waiting: usize| {
            let more = waiting + bytes;
            (more <= MAX_WAITING_IN_ALL).then_some(more)
        };
        let order = Ordering::Relaxed;
        self.waiting.fetch_update(order, order, room).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Bounds {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Writes lines, after the end of one that was torn. An error says how many bytes were written before.
fn write_lines(
    file: &File,
    lines: &[u8],
    is_torn: &mut bool,
    patience: Duration,
) -> Result<(), (usize, Loss)> {
    let failed = |(written, error)| (written, Loss::Write(error));
    if *is_torn && !lines.starts_with(b"\n") {
        write_all(file, b"\n", patience).map_err(|(_, error)| (0, Loss::Write(error)))?;
        *is_torn = false;
    }
    let result = write_all(file, lines, patience).map_err(failed);
    match &result {
        Ok(()) => *is_torn = false,
        Err((0, _)) => {}
        Err((written, _)) => *is_torn = lines[written - 1] != b'\n',
    }
    result
}

/// Writes all in one go if the system does. A pipe may take nothing for as long as `patience`. An error
/// says how much was taken before.
fn write_all(mut file: &File, bytes: &[u8], patience: Duration) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    let mut progress = Instant::now();
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(more) => {
                written += more;
                progress = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && progress.elapsed() < patience =>
            {
                thread::sleep(LOOK);
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

fn count_lines(bytes: &[u8]) -> u64 {
    let ended = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    ended + u64::from(!bytes.ends_with(b"\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use nix::fcntl::OFlag;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::super::OutputFiles;

    use super::*;

    #[test]
    fn lost_lines_are_counted_whole() {
        assert_eq!(count_lines(b"rest\nline\n"), 2);
        assert_eq!(count_lines(b"rest\nbegun"), 2);
    }

    #[test]
    fn within_a_runtime_a_slow_reader_of_a_pipe_blocks_no_thread_and_loses_little() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut reader = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .unwrap();
        let files = OutputFiles::default();
        let file = files.open(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let line = [[b'x'; 4095].as_slice(), b"\n"].concat();
        let received = runtime.block_on(async {
            let begun = Instant::now();
            for _ in 0..512 {
                file.write_lines(&line, 1);
            }
            assert!(begun.elapsed() < PIPE_STALL / 2, "it waits for the reader");
            let mut received = Vec::new();
            while received.len() < 512 * line.len() && begun.elapsed() < Duration::from_secs(60) {
                let _ = io::Read::read_to_end(&mut reader, &mut received);
                tokio::time::sleep(LOOK).await;
            }
            received
        });
        assert_eq!(received.len(), 512 * line.len());
        assert!(received.chunks(line.len()).all(|chunk| chunk == line));
    }

    #[test]
    fn what_waits_for_a_stalled_pipe_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let _reader = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .unwrap();
        let files = OutputFiles::default();
        let file = files.open(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let line = [[b'x'; 4095].as_slice(), b"\n"].concat();
        runtime.block_on(async {
            for _ in 0..4096 {
                file.write_lines(&line, 1);
            }
        });
        let waiting = files.waiting();
        assert!(waiting <= 2 * MAX_WAITING, "{waiting}");
    }
}

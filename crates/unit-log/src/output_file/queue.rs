//! Output on its way to a file: no thread that serves waits for a disk, or for who reads a pipe.

use std::fs::File;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::line_owner::Owner;

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

/// How often another thread's writing is looked at.
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

/// How long a pipe, or a device, may take nothing before the rest is lost.
#[derive(Clone, Copy, Debug)]
enum Patience {
    None,
    Stall(Duration),
    Until(Instant),
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
                return self.write(Patience::None);
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
                queue.write(Patience::Stall(PIPE_STALL));
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

    /// Writes what waits, and waits for another that writes, until `deadline` at most where the file is a pipe. A
    /// disk may make the caller wait for longer.
    fn flush(&self, deadline: Instant) {
        loop {
            if self.begin_writing() {
                self.write(Patience::Until(deadline));
            }
            // Another that writes may have ended with its runtime, and have left something.
            let state = self.state();
            let is_done = state.writer == Writer::None && state.waiting.is_empty();
            drop(state);
            if is_done || Instant::now() >= deadline {
                return;
            }
            thread::sleep(LOOK);
        }
    }

    /// Writes until nothing waits. No lock is held meanwhile.
    fn write(&self, patience: Patience) {
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

/// Writes what waits in these queues, for as long as `limit` at most. A disk that stalls may keep a thread for
/// longer, but not the caller.
pub(super) fn flush(queues: Vec<Arc<Queue>>, limit: Duration) {
    let deadline = Instant::now() + limit;
    let threads = queues.len().min(MAX_WRITERS);
    let queues = Arc::new(Mutex::new(queues.into_iter()));
    let (writes, written) = mpsc::channel::<()>();
    for _ in 0..threads {
        let (queues, writes) = (Arc::clone(&queues), writes.clone());
        let flush = move || {
            let next = || queues.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(queue) = next() {
                queue.flush(deadline);
            }
            drop(writes);
        };
        if let Err(error) = thread::Builder::new().name("flush".to_owned()).spawn(flush) {
            tracing::warn!("cannot start a thread that writes the last lines of output: {error}");
        }
    }
    drop(writes);
    // Nothing is sent: this waits until all threads have dropped their ends.
    let _ = written.recv_timeout(limit);
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
    patience: Patience,
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

fn write_all(mut file: &File, bytes: &[u8], patience: Patience) -> Result<(), (usize, io::Error)> {
    crate::write_all(&mut file, bytes, |stalled| match patience {
        Patience::None => false,
        Patience::Stall(limit) => stalled < limit,
        Patience::Until(deadline) => Instant::now() < deadline,
    })
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

    /// A pipe with its end for reading, whose other end makes its writer wait if `blocks`.
    fn pipe(blocks: bool) -> (tempfile::TempDir, PathBuf, File, File) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut options = File::options();
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let reader = options.open(&path).unwrap();
        let flags = if blocks {
            OFlag::empty()
        } else {
            OFlag::O_NONBLOCK
        };
        let writer = File::options()
            .append(true)
            .custom_flags(flags.bits())
            .open(&path);
        (folder, path, reader, writer.unwrap())
    }

    /// A queue for `file`, with twice as many lines as a pipe takes, and the number of those that are lost.
    fn full(path: &Path, file: File) -> (Arc<Queue>, Arc<AtomicUsize>) {
        let lost = Arc::new(AtomicUsize::new(0));
        let lose = {
            let lost = Arc::clone(&lost);
            move |lines, _| _ = lost.fetch_add(lines as usize, Ordering::Relaxed)
        };
        let queue = Arc::new(Queue::new(path, Some(file), Arc::default(), false, lose));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        // Nothing runs there: what would be written later waits, and its task ends with the runtime.
        let guard = runtime.enter();
        queue.add_lines(LINES, LINE.repeat(LINES as usize).as_bytes());
        drop(guard);
        (queue, lost)
    }

    const LINE: &str = "0123456789abcde\n";
    const LINES: u64 = 8192;

    #[test]
    fn a_flush_waits_for_a_slow_reader_of_a_pipe_and_loses_nothing() {
        let (_folder, path, mut reader, writer) = pipe(false);
        let (queue, lost) = full(&path, writer);
        let reads = thread::spawn(move || {
            let mut received = Vec::new();
            let begun = Instant::now();
            while received.len() < LINE.len() * LINES as usize && begun.elapsed().as_secs() < 60 {
                // Each time the pipe is full for longer than no time at all.
                thread::sleep(Duration::from_millis(50));
                let _ = io::Read::read_to_end(&mut reader, &mut received);
            }
            received
        });
        flush(vec![queue], Duration::from_secs(60));
        let received = reads.join().unwrap();
        assert_eq!(received, LINE.repeat(LINES as usize).as_bytes());
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_flush_ends_in_time_with_a_pipe_that_is_not_read_and_counts_what_it_lost() {
        let (_folder, path, _reader, writer) = pipe(false);
        let (queue, lost) = full(&path, writer);
        let begun = Instant::now();
        flush(vec![Arc::clone(&queue)], Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(30));
        while queue.state().writer != Writer::None {
            assert!(begun.elapsed() < Duration::from_secs(60));
            thread::sleep(LOOK);
        }
        let lost = lost.load(Ordering::Relaxed);
        assert!((2048..8192).contains(&lost), "{lost}");
    }

    #[test]
    fn a_flush_ends_in_time_with_a_file_that_stalls_and_writes_the_others() {
        // A disk that hangs is like a pipe that makes its writer wait.
        let (_folder, path, reader, writer) = pipe(true);
        let (stalled, _) = full(&path, writer);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (other, _) = full(&path, File::create(&path).unwrap());
        let begun = Instant::now();
        flush(vec![stalled, other], Duration::from_secs(1));
        assert!(begun.elapsed() < Duration::from_secs(30));
        while std::fs::read(&path).unwrap().len() < LINE.len() * LINES as usize {
            assert!(begun.elapsed() < Duration::from_secs(60));
            thread::sleep(LOOK);
        }
        // The thread ends with an error.
        drop(reader);
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

//! The write queue of one output file: no thread that serves requests waits for a disk, or for the reader of a pipe.
//!
//! Lines are gathered for some milliseconds and written by a blocking thread of the runtime. Outside of a runtime, and
//! for files that the process was started with, the thread that adds a line writes it. The daemon's own log has a queue
//! of another kind (`wasmtime-unitd/src/log/queue.rs`): it needs to work before and after any runtime, may wait for its
//! pipe forever, and cannot report its losses as events.

use std::fs::File;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::losses::{FileLosses, LossReason};
use crate::line_owner::LineOwner;

/// Bytes that may wait to be written to one file: the bursts of two applications that share it.
const MAX_WAITING: usize = 4 << 20;

/// Bytes that may wait to be written to all files together.
const MAX_WAITING_IN_ALL: usize = 64 << 20;

/// How long lines are gathered, so that many of them are one `write(2)`.
const GATHER: Duration = Duration::from_millis(10);

/// Bytes that are written immediately, without gathering more.
const URGENT: usize = 256 << 10;

/// Files that are written to at the same time. The others wait, so that a disk that stalls does not occupy all
/// blocking threads of the runtime.
const MAX_WRITERS: usize = 16;

/// How long a pipe may accept no bytes before what waits for it is discarded.
const PIPE_STALL: Duration = Duration::from_secs(1);

/// How often a flush checks whether another thread has finished writing.
const FLUSH_POLL: Duration = Duration::from_millis(5);

/// Limits on all files together.
#[derive(Debug)]
pub(super) struct QueueLimits {
    /// Bytes that wait to be written.
    waiting: AtomicUsize,
    writers: Arc<Semaphore>,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            writers: Arc::new(Semaphore::new(MAX_WRITERS)),
        }
    }
}

pub(super) struct FileQueue {
    pub(super) path: PathBuf,
    limits: Arc<QueueLimits>,
    /// Lines are written by the thread that adds them, within a runtime, too.
    writes_at_once: bool,
    state: Mutex<QueueState>,
    pub(super) losses: FileLosses,
}

struct QueueState {
    file: Option<Arc<File>>,
    /// Bytes that wait to be written.
    waiting: Vec<u8>,
    last_line: LastLine,
    /// The file ends within a line, whose remainder was discarded.
    is_torn: bool,
    writer: WriterState,
}

/// How the last piece that was added ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastLine {
    Ended,
    /// Within a line that its owner may continue.
    Begun(LineOwner),
    /// Within a line whose remainder was discarded.
    Torn,
}

/// How long a pipe or a device may accept no bytes before what waits for it is discarded.
#[derive(Clone, Copy, Debug)]
enum StallLimit {
    /// A write that would block fails at once.
    NoWait,
    Duration(Duration),
    Deadline(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterState {
    Idle,
    /// A task waits for more lines, then has them written.
    Gathering,
    /// A thread writes until nothing waits any more.
    Writing,
}

impl FileQueue {
    pub(super) fn new(
        path: &Path,
        file: Option<File>,
        limits: Arc<QueueLimits>,
        writes_at_once: bool,
    ) -> Self {
        Self {
            path: path.to_owned(),
            limits,
            writes_at_once,
            state: Mutex::new(QueueState {
                file: file.map(Arc::new),
                waiting: Vec::new(),
                last_line: LastLine::Ended,
                is_torn: false,
                writer: WriterState::Idle,
            }),
            losses: FileLosses::new(path),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().file.is_some()
    }

    /// Replaces the file. What waits is written to the new one.
    pub(super) fn open(&self, file: File) {
        let mut state = self.state();
        state.file = Some(Arc::new(file));
        state.is_torn = false;
        if state.waiting.is_empty() {
            state.last_line = LastLine::Ended;
        }
    }

    /// Adds a line, or a piece of one. `continues` says that the owner's last piece belongs to the same line.
    pub(super) fn add_piece(self: &Arc<Self>, owner: LineOwner, continues: bool, bytes: &[u8]) {
        let mut state = self.state();
        let is_continued = continues && state.last_line == LastLine::Begun(owner);
        if let Err(reason) = self.add(&mut state, is_continued, bytes) {
            if is_continued {
                state.last_line = LastLine::Torn;
            }
            drop(state);
            return self.losses.add(1, reason);
        }
        if !bytes.ends_with(b"\n") {
            state.last_line = LastLine::Begun(owner);
        }
        self.write_soon(state);
    }

    /// Adds `count` complete lines.
    pub(super) fn add_lines(self: &Arc<Self>, count: u64, lines: &[u8]) {
        let mut state = self.state();
        match self.add(&mut state, false, lines) {
            Ok(()) => self.write_soon(state),
            Err(reason) => {
                drop(state);
                self.losses.add(count, reason);
            }
        }
    }

    fn add(
        &self,
        state: &mut QueueState,
        is_continued: bool,
        bytes: &[u8],
    ) -> Result<(), LossReason> {
        if state.file.is_none() {
            return Err(LossReason::Closed);
        }
        let ends_another = state.last_line != LastLine::Ended && !is_continued;
        let added = bytes.len() + usize::from(ends_another);
        if state.waiting.len() + added > MAX_WAITING || !self.limits.take(added) {
            return Err(LossReason::QueueFull);
        }
        if ends_another {
            state.waiting.push(b'\n');
        }
        state.waiting.extend_from_slice(bytes);
        state.last_line = LastLine::Ended;
        Ok(())
    }

    /// Has what waits written, unless a task or thread already does so.
    fn write_soon(self: &Arc<Self>, mut state: MutexGuard<'_, QueueState>) {
        let is_urgent = state.waiting.len() >= URGENT;
        match state.writer {
            WriterState::Writing => return,
            WriterState::Gathering if !is_urgent => return,
            WriterState::Gathering | WriterState::Idle => {}
        }
        let runtime = match Handle::try_current() {
            Ok(runtime) if !self.writes_at_once => runtime,
            _ => {
                state.writer = WriterState::Writing;
                drop(state);
                return self.write(StallLimit::NoWait);
            }
        };
        if state.writer == WriterState::Idle {
            state.writer = WriterState::Gathering;
            drop(state);
            runtime.spawn(GatherTask(Arc::clone(self)).gather());
        } else if let Ok(permit) = Arc::clone(&self.limits.writers).try_acquire_owned() {
            state.writer = WriterState::Writing;
            drop(state);
            self.write_on(&runtime, permit);
        }
    }

    fn write_on(self: &Arc<Self>, runtime: &Handle, permit: OwnedSemaphorePermit) {
        let mut turn = WriteTurn(Some(Arc::clone(self)));
        runtime.spawn_blocking(move || {
            if let Some(queue) = turn.0.take() {
                queue.write(StallLimit::Duration(PIPE_STALL));
            }
            drop(permit);
        });
    }

    /// Whether the caller is to write what waits. If not, another thread does.
    fn begin_writing(&self) -> bool {
        let mut state = self.state();
        let begins = state.writer != WriterState::Writing;
        if begins {
            state.writer = WriterState::Writing;
        }
        begins
    }

    /// Writes what waits, or waits until another thread has. Returns at `deadline` where the file is a pipe; a disk
    /// that stalls may block the caller for longer.
    fn flush(&self, deadline: Instant) {
        loop {
            if self.begin_writing() {
                self.write(StallLimit::Deadline(deadline));
            }
            // Another writer may have ended with its runtime before it had written everything.
            let state = self.state();
            let is_done = state.writer == WriterState::Idle && state.waiting.is_empty();
            drop(state);
            if is_done || Instant::now() >= deadline {
                return;
            }
            thread::sleep(FLUSH_POLL);
        }
    }

    /// Writes until nothing waits. The lock is not held during a write.
    fn write(&self, stall_limit: StallLimit) {
        loop {
            let (file, lines, mut is_torn) = {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.writer = WriterState::Idle;
                    return;
                }
                (
                    state.file.clone(),
                    mem::take(&mut state.waiting),
                    state.is_torn,
                )
            };
            let written = match &file {
                Some(file) => write_lines(file, &lines, &mut is_torn, stall_limit),
                None => Err((0, LossReason::Closed)),
            };
            self.limits.give_back(lines.len());
            let mut state = self.state();
            let is_same = match (&state.file, &file) {
                (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                _ => false,
            };
            if is_same {
                state.is_torn = is_torn;
            }
            drop(state);
            if let Err((written, reason)) = written {
                self.losses.add(count_lines(&lines[written..]), reason);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }
}

/// A task that waits for more lines. When it is dropped early, with its runtime, the next line that is added starts
/// another.
struct GatherTask(Arc<FileQueue>);

impl GatherTask {
    async fn gather(self) {
        tokio::time::sleep(GATHER).await;
        let permit = Arc::clone(&self.0.limits.writers).acquire_owned().await;
        if let Ok(permit) = permit
            && self.0.begin_writing()
        {
            self.0.write_on(&Handle::current(), permit);
        }
    }
}

impl Drop for GatherTask {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.writer == WriterState::Gathering {
            state.writer = WriterState::Idle;
        }
    }
}

/// The exclusive right to write. When the runtime ends before the thread has started, the right is given back.
struct WriteTurn(Option<Arc<FileQueue>>);

impl Drop for WriteTurn {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            queue.state().writer = WriterState::Idle;
        }
    }
}

/// Writes what waits in these queues, and returns after `limit` at the latest. A disk that stalls may block a thread
/// for longer, but not the caller.
pub(super) fn flush(queues: Vec<Arc<FileQueue>>, limit: Duration) {
    let deadline = Instant::now() + limit;
    let threads = queues.len().min(MAX_WRITERS);
    let queues = Arc::new(Mutex::new(queues.into_iter()));
    let (writes, written) = mpsc::channel::<()>();
    for _ in 0..threads {
        let (queues, writes) = (Arc::clone(&queues), writes.clone());
        let flush = move || {
            let next = || queues.lock().next();
            while let Some(queue) = next() {
                queue.flush(deadline);
            }
            drop(writes);
        };
        if let Err(error) = thread::Builder::new().name("flush".to_owned()).spawn(flush) {
            tracing::warn!(
                "cannot start a thread to flush output files: {error}; flushing with fewer threads"
            );
        }
    }
    drop(writes);
    // Nothing is sent: this waits until all threads have dropped their ends.
    let _ = written.recv_timeout(limit);
}

impl QueueLimits {
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
impl QueueLimits {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Writes lines, after a line feed if the line before them was torn. An error has the number of bytes that were
/// written before it.
fn write_lines(
    file: &File,
    lines: &[u8],
    is_torn: &mut bool,
    stall_limit: StallLimit,
) -> Result<(), (usize, LossReason)> {
    let failed = |(written, error)| (written, LossReason::Write(error));
    if *is_torn && !lines.starts_with(b"\n") {
        write_all(file, b"\n", stall_limit).map_err(|(_, error)| (0, LossReason::Write(error)))?;
        *is_torn = false;
    }
    let result = write_all(file, lines, stall_limit).map_err(failed);
    match &result {
        Ok(()) => *is_torn = false,
        Err((0, _)) => {}
        Err((written, _)) => *is_torn = lines[written - 1] != b'\n',
    }
    result
}

fn write_all(
    mut file: &File,
    bytes: &[u8],
    stall_limit: StallLimit,
) -> Result<(), (usize, io::Error)> {
    crate::write_all(&mut file, bytes, |stalled| match stall_limit {
        StallLimit::NoWait => false,
        StallLimit::Duration(limit) => stalled < limit,
        StallLimit::Deadline(deadline) => Instant::now() < deadline,
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
    fn within_a_runtime_a_slow_reader_of_a_pipe_blocks_no_thread() {
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
                tokio::time::sleep(FLUSH_POLL).await;
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

    /// A queue for `file` with twice as many lines as a pipe takes.
    fn full(path: &Path, file: File) -> Arc<FileQueue> {
        let queue = Arc::new(FileQueue::new(path, Some(file), Arc::default(), false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        // The runtime never runs, so that the lines wait, and the task that gathers is dropped with it.
        let guard = runtime.enter();
        queue.add_lines(LINES, LINE.repeat(LINES as usize).as_bytes());
        drop(guard);
        queue
    }

    const LINE: &str = "0123456789abcde\n";
    const LINES: u64 = 8192;

    #[test]
    fn a_flush_waits_for_a_slow_reader_of_a_pipe_and_loses_nothing() {
        let (_folder, path, mut reader, writer) = pipe(false);
        let queue = full(&path, writer);
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
        flush(vec![Arc::clone(&queue)], Duration::from_secs(60));
        let received = reads.join().unwrap();
        assert_eq!(received, LINE.repeat(LINES as usize).as_bytes());
        assert_eq!(queue.losses.count(), 0);
    }

    #[test]
    fn a_flush_of_a_pipe_that_is_not_read_ends_in_time_and_counts_lost_lines() {
        let (_folder, path, _reader, writer) = pipe(false);
        let queue = full(&path, writer);
        let begun = Instant::now();
        flush(vec![Arc::clone(&queue)], Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(30));
        while queue.state().writer != WriterState::Idle {
            assert!(begun.elapsed() < Duration::from_secs(60));
            thread::sleep(FLUSH_POLL);
        }
        let lost = queue.losses.count();
        assert!((2048..8192).contains(&lost), "{lost}");
    }

    #[test]
    fn a_flush_with_a_file_that_stalls_ends_in_time_and_writes_the_others() {
        // A disk that hangs is like a pipe that makes its writer wait.
        let (_folder, path, reader, writer) = pipe(true);
        let stalled = full(&path, writer);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let other = full(&path, File::create(&path).unwrap());
        let begun = Instant::now();
        flush(vec![stalled, other], Duration::from_secs(1));
        assert!(begun.elapsed() < Duration::from_secs(30));
        while std::fs::read(&path).unwrap().len() < LINE.len() * LINES as usize {
            assert!(begun.elapsed() < Duration::from_secs(60));
            thread::sleep(FLUSH_POLL);
        }
        // The thread ends with an error.
        drop(reader);
    }

    #[test]
    fn the_write_queue_of_a_stalled_pipe_is_bounded() {
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

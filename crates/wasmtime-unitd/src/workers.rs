//! The threads that everything runs on.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use control::BlockingThreads;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::idle_memory;

/// Threads for what blocks, such as files that are sent and files that guests read, shared out among the
/// workers. The control API and its changes have others.
const BLOCKING_THREADS: usize = 512;

/// The least of one worker: with fewer, a few slow reads would delay all other files that are sent.
const LEAST_BLOCKING_THREADS: usize = 32;

/// How long blocking work may delay the end of the process.
const BLOCKED: Duration = Duration::from_secs(1);

/// How soon a worker looks at what others have handed to it, in turns of its own tasks, each of which may
/// be a guest's millisecond. It costs nothing where there is nothing.
const HANDED_OVER: u32 = 8;

/// How nice the threads of guests are that compute for long (setpriority(2)): a small request that
/// comes meanwhile goes first, and they have a third of a core beside a thread that is never idle.
const NICENESS: i32 = 5;

/// One runtime of one thread for each worker, of which this thread is the first, one more for guests
/// that compute for long, and threads for what blocks in the control API.
///
/// A connection, its requests and their guests stay on one thread, so that nothing is handed over from
/// one to another for each of them.
pub(crate) struct Workers {
    first: Option<Runtime>,
    background: Option<Runtime>,
    control: BlockingThreads,
    /// Of all workers, the first included.
    handles: Vec<Handle>,
    /// The other workers' threads. Each drops its end when it is done.
    threads: mpsc::Receiver<Infallible>,
    alive: mpsc::Sender<Infallible>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts so many, by default one for each core that the process may use.
    pub(crate) fn start(count: Option<NonZeroUsize>) -> Result<Self> {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let count = count.unwrap_or(cores).get();
        let blocking = (BLOCKING_THREADS / count).max(LEAST_BLOCKING_THREADS);
        let first = runtime(blocking).context("cannot start a worker")?;
        let (alive, threads) = mpsc::channel();
        first.spawn(idle_memory::give_back());
        let background = background(cores.get()).context("cannot start threads for guests")?;
        background.spawn(idle_memory::give_back());
        let mut workers = Self {
            handles: vec![first.handle().clone()],
            first: Some(first),
            background: Some(background),
            control: BlockingThreads::start()
                .context("cannot start a thread for the control API")?,
            threads,
            alive,
            stop: watch::Sender::new(false),
        };
        for number in 1..count {
            (workers.add(number, blocking))
                .with_context(|| format!("cannot start worker {number} of {count}"))?;
        }
        Ok(workers)
    }

    fn add(&mut self, number: usize, blocking: usize) -> io::Result<()> {
        let runtime = runtime(blocking)?;
        runtime.spawn(idle_memory::give_back());
        self.handles.push(runtime.handle().clone());
        let mut stop = self.stop.subscribe();
        let alive = self.alive.clone();
        thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                // It fails when the sender is gone, which is a reason to stop, too.
                _ = runtime.block_on(stop.wait_for(|stop| *stop));
                runtime.shutdown_timeout(BLOCKED);
                drop(alive);
            })?;
        Ok(())
    }

    /// Where connections are served.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    /// Where guests go on that compute for long.
    pub(crate) fn background(&self) -> Option<Handle> {
        self.background.as_ref().map(|it| it.handle().clone())
    }

    /// Where the control API, and a change that it asks for, do what blocks.
    pub(crate) fn control(&self) -> &BlockingThreads {
        &self.control
    }

    /// Runs `work` on the first worker, on this thread.
    pub(crate) fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let first = self.first.as_ref().context("there is no worker")?;
        first.block_on(work)
    }
}

impl Drop for Workers {
    /// Ends what is still in progress, so that its clients see that it is cut off.
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(first) = self.first.take() {
            first.shutdown_timeout(BLOCKED);
        }
        // A thread that is blocked, by a disk for one, must not delay the end for longer.
        self.alive = mpsc::channel().0;
        _ = self.threads.recv_timeout(2 * BLOCKED);
        if let Some(background) = self.background.take() {
            // What guests there print at their end is still to be written.
            background.shutdown_timeout(BLOCKED);
        }
    }
}

fn runtime(blocking: usize) -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .global_queue_interval(HANDED_OVER)
        .max_blocking_threads(blocking)
        .thread_name("blocking")
        .build()
}

fn background(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .thread_name("background")
        .on_thread_start(|| {
            // On Linux each thread has a priority of its own.
            if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
                tracing::warn!(
                    "a thread for guests that compute for long has full priority: {error}"
                );
            }
        })
        .build()
}

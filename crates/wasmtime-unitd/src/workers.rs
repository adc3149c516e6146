//! The threads that everything runs on.

use std::io;
use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Threads of all workers together for what blocks: files that are sent, components that are loaded.
const BLOCKING_THREADS: usize = 512;

/// How long what blocks may hold up the end of the process.
const BLOCKED: Duration = Duration::from_secs(1);

/// How nice the threads of guests are that compute for long (setpriority(2)): a small request that
/// comes meanwhile goes first, and they have a third of a core beside a thread that is never idle.
const NICENESS: i32 = 5;

/// One runtime of one thread for each worker, of which this thread is the first, and one more for guests
/// that compute for long.
///
/// A connection, its requests and their guests stay on one thread, so that nothing is handed over from
/// one to another for each of them.
pub(crate) struct Workers {
    first: Option<Runtime>,
    background: Option<Runtime>,
    /// Of all workers, the first included.
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts so many, by default one for each core that the process may use.
    pub(crate) fn start(count: Option<NonZeroUsize>) -> Result<Self> {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let count = count.unwrap_or(cores).get();
        let blocking = (BLOCKING_THREADS / count).max(1);
        let first = runtime(blocking).context("cannot start a worker")?;
        let mut workers = Self {
            handles: vec![first.handle().clone()],
            first: Some(first),
            background: Some(background(cores.get()).context("cannot start threads for guests")?),
            threads: Vec::new(),
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
        self.handles.push(runtime.handle().clone());
        let mut stop = self.stop.subscribe();
        let thread = thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                // Whoever could say so is gone when this fails.
                _ = runtime.block_on(stop.wait_for(|stop| *stop));
                runtime.shutdown_timeout(BLOCKED);
            })?;
        self.threads.push(thread);
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
        for thread in self.threads.drain(..) {
            // It has said why it panicked.
            _ = thread.join();
        }
        if let Some(background) = self.background.take() {
            background.shutdown_background();
        }
    }
}

fn runtime(blocking: usize) -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
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

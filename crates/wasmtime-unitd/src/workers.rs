//! The threads of the process: workers that serve connections, a background runtime for guests that compute for long,
//! and threads for blocking work of the control API.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use control::{BlockingThreads, Health};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::idle_memory;

/// Threads for blocking work, such as reads of files for clients and guests, divided among the workers. The control API
/// has its own.
const BLOCKING_THREADS: usize = 512;

/// Lower bound per worker: with fewer, a few slow reads would delay all other files that are being sent.
const MIN_BLOCKING_THREADS: usize = 32;

/// How long blocking work may delay the exit of the process.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// After how many polls of its own tasks a worker looks at tasks that other threads gave it. tokio's default of 61
/// would be up to 61 ms here, since each poll may run a guest for a millisecond. Looking at an empty queue costs
/// nothing.
const GLOBAL_QUEUE_INTERVAL: u32 = 8;

/// The nice value of background threads (setpriority(2)): small requests take precedence, and a background thread still
/// gets a third of a core that it shares with a busy worker.
const NICENESS: i32 = 5;

/// Each worker is a single-threaded runtime; the first one runs on the thread that calls [`run`](Self::run).
///
/// A connection, its requests and their guests stay on one worker, which saves waking another thread for each request.
pub(crate) struct Workers {
    first: Option<Runtime>,
    background: Option<Runtime>,
    control: BlockingThreads,
    health: Health,
    /// Of all workers, including the first.
    handles: Vec<Handle>,
    /// Disconnected once all other workers' threads have ended: each drops a clone of `alive`.
    threads: mpsc::Receiver<Infallible>,
    alive: mpsc::Sender<Infallible>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts `count` workers, by default one per core that the process may use.
    pub(crate) fn start(count: Option<NonZeroUsize>) -> Result<Self> {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let count = count.unwrap_or(cores).get();
        let blocking = (BLOCKING_THREADS / count).max(MIN_BLOCKING_THREADS);
        let first = runtime(blocking).context("cannot start the first worker")?;
        let (alive, threads) = mpsc::channel();
        first.spawn(idle_memory::give_back());
        let background =
            background(cores.get()).context("cannot start background threads for guests")?;
        background.spawn(idle_memory::give_back());
        let mut workers = Self {
            handles: vec![first.handle().clone()],
            health: Health::default(),
            first: Some(first),
            background: Some(background),
            control: BlockingThreads::start()
                .context("cannot start threads for the control API")?,
            threads,
            alive,
            stop: watch::Sender::new(false),
        };
        for number in 1..count {
            (workers.add(number, blocking))
                .with_context(|| format!("cannot start worker {number} of {count}"))?;
        }
        workers.health = Health::new(workers.handles());
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
                // Fails when the sender is dropped, which means to stop, too.
                _ = runtime.block_on(stop.wait_for(|stop| *stop));
                runtime.shutdown_timeout(EXIT_TIMEOUT);
                drop(alive);
            })?;
        Ok(())
    }

    /// The runtimes that serve connections.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    /// The runtime that guests are offloaded to when they compute for long.
    pub(crate) fn background(&self) -> Option<Handle> {
        self.background.as_ref().map(|it| it.handle().clone())
    }

    /// Live while all workers run their tasks.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// For blocking work of the control API and of changes of the configuration, and for health checks.
    pub(crate) fn control(&self) -> &BlockingThreads {
        &self.control
    }

    /// Runs `work` on the first worker, on this thread.
    pub(crate) fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let first = self.first.as_ref().context("the first worker has ended")?;
        first.block_on(work)
    }
}

impl Drop for Workers {
    /// Aborts what is still in progress, in such a way that clients can tell.
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(first) = self.first.take() {
            first.shutdown_timeout(EXIT_TIMEOUT);
        }
        // Not for longer: a thread may be blocked, for example by a stalled disk.
        self.alive = mpsc::channel().0;
        _ = self.threads.recv_timeout(2 * EXIT_TIMEOUT);
        if let Some(background) = self.background.take() {
            // Last, so that what guests print when they end is still passed on.
            background.shutdown_timeout(EXIT_TIMEOUT);
        }
    }
}

fn runtime(blocking: usize) -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
        .max_blocking_threads(blocking)
        .thread_name("blocking")
        .build()
}

/// Gives this thread the nice value of background threads, unless it has a higher one: the server was started with that
/// one, and lowering it takes a privilege.
fn lower_priority() -> rustix::io::Result<()> {
    // On Linux a priority is a thread's, not the process's.
    let thread = Some(gettid());
    if getpriority_process(thread)? >= NICENESS {
        return Ok(());
    }
    setpriority_process(thread, NICENESS)
}

fn background(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .thread_name("background")
        .on_thread_start(|| {
            if let Err(error) = lower_priority() {
                tracing::warn!(
                    "cannot lower the priority of a background thread for guests: {error}"
                );
            }
        })
        .build()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_priority_that_is_lower_already_stays() {
        let after = |before: i32| {
            let thread = thread::spawn(move || {
                setpriority_process(Some(gettid()), before).unwrap();
                lower_priority().unwrap();
                getpriority_process(Some(gettid())).unwrap()
            });
            thread.join().unwrap()
        };
        // From low to high, which needs no privilege, unless the tests have a nice value themselves.
        let own = getpriority_process(Some(gettid())).unwrap();
        assert_eq!(after(own), own.max(NICENESS));
        assert_eq!(after(own.max(12)), own.max(12));
    }
}

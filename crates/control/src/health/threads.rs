//! Whether the threads that serve clients run the tasks that they are given.

use std::fmt;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long one check waits for the threads. Orchestrators wait for a second by default.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// A thread that has run no task for this long is stalled, and a restart of the process is better than a longer wait.
/// Under load a task waits for tens of milliseconds; a change of a configuration with tens of thousands of
/// applications, or a disk that recovers, may take a thread for seconds.
const STALL: Duration = Duration::from_secs(30);

/// The runtimes that serve clients, each with one thread.
#[derive(Debug)]
pub(super) struct ServingThreads(Vec<ServingThread>);

#[derive(Debug)]
struct ServingThread {
    runtime: Handle,
    /// Since when a task waits to be run. There is one at most, however many checks there are.
    waiting_since: watch::Sender<Option<Instant>>,
}

/// A thread that runs no tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StalledThread {
    number: usize,
    stalled_for: Duration,
}

impl ServingThreads {
    pub(super) fn new(runtimes: Vec<Handle>) -> Self {
        let thread = |runtime| ServingThread {
            runtime,
            waiting_since: watch::Sender::new(None),
        };
        Self(runtimes.into_iter().map(thread).collect())
    }

    /// Gives each thread a task, and waits for them. Returns the thread that has been stalled for longest, if any.
    pub(super) async fn stalled(&self) -> Option<StalledThread> {
        self.0.iter().for_each(ServingThread::ask);
        let answers = async {
            for thread in &self.0 {
                thread.answered().await;
            }
        };
        if timeout(ANSWER_WAIT, answers).await.is_ok() {
            return None;
        }
        let waits = self.0.iter().enumerate().filter_map(|(number, thread)| {
            let since = (*thread.waiting_since.borrow())?;
            Some(StalledThread {
                number,
                stalled_for: since.elapsed(),
            })
        });
        waits
            .filter(|thread| thread.stalled_for >= STALL)
            .max_by_key(|thread| thread.stalled_for)
    }
}

impl ServingThread {
    fn ask(&self) {
        let is_new = self.waiting_since.send_if_modified(|since| {
            let is_new = since.is_none();
            since.get_or_insert_with(Instant::now);
            is_new
        });
        if is_new {
            let waiting_since = self.waiting_since.clone();
            self.runtime.spawn(async move {
                waiting_since.send_replace(None);
            });
        }
    }

    async fn answered(&self) {
        // Cannot fail, since `self` has the sender.
        let _ = self
            .waiting_since
            .subscribe()
            .wait_for(Option::is_none)
            .await;
    }
}

impl fmt::Display for StalledThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "serving thread {} has run no task for {} seconds",
            self.number,
            self.stalled_for.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_runs_no_tasks_is_stalled_after_thirty_seconds() {
        let stuck = Builder::new_current_thread().build().unwrap();
        let threads = ServingThreads::new(vec![Handle::current(), stuck.handle().clone()]);
        assert_eq!(threads.stalled().await, None);
        tokio::time::advance(STALL).await;
        let stalled = threads.stalled().await.unwrap();
        assert_eq!(stalled.number, 1);
        assert!(
            stalled
                .to_string()
                .starts_with("serving thread 1 has run no task for 3"),
            "{stalled}"
        );
        // One task waits, however often it was asked for.
        assert_eq!(stuck.metrics().num_alive_tasks(), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                stuck.block_on(async {
                    while threads.0[1].waiting_since.borrow().is_some() {
                        tokio::task::yield_now().await;
                    }
                });
            });
        });
        tokio::time::advance(STALL).await;
        // The new task waits from now on only.
        assert_eq!(threads.stalled().await, None);
        stuck.shutdown_background();
    }
}

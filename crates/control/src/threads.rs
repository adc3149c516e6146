//! The control API's own threads for blocking work.

use std::io;
use std::panic;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Maximum number of threads. A change needs few, and answers are rendered by [three](crate::quota) at most, so that a
/// change that hangs, for example on a stalled disk, leaves some for everything else.
const MAX_THREADS: usize = 16;

/// Threads for blocking steps of a change, and for rendering answers; one of them also runs tasks. Separate from those
/// of the runtimes that serve clients: the control API has to answer even if a stalled disk blocks all of those.
///
/// Clones share the threads, which are started on demand and end after some seconds without work. Dropping the last
/// clone waits for none of them: unfinished work ends with the process.
#[derive(Clone, Debug)]
pub struct BlockingThreads(Arc<OwnedRuntime>);

#[derive(Debug)]
struct OwnedRuntime {
    handle: Handle,
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
}

impl BlockingThreads {
    /// Starts one thread, which drives sockets and timers, and runs the tasks given to [`handle`](Self::handle).
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(MAX_THREADS)
            .enable_all()
            .thread_name("control")
            .build()?;
        Ok(Self(Arc::new(OwnedRuntime {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })))
    }

    /// Queues `work` for a thread. It is done whether the handle is awaited or dropped.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.handle.spawn_blocking(work)
    }

    /// For tasks that have to run even if all threads that serve clients are stuck.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// Runs `work` on a thread and waits for its result. A panic in it is resumed in the caller.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match self.spawn(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // Cancelled before it began: the threads have been shut down.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Drop for OwnedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting could take forever, and would panic on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

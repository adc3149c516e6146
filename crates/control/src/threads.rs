//! Threads for blocking work, of the control API alone. What runs there is not known here.

use std::io;
use std::panic;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Threads at a time. A change needs few, and answers are rendered by [three](crate::quota) at most, so that a change
/// that hangs, on a disk for one, leaves some for all else.
const MAX_THREADS: usize = 16;

/// Threads for what blocks in a change, and for what takes long in an answer. What serves clients has others, all of
/// which may be stuck on a disk that hangs: the control API has to answer even then.
///
/// Clones are the same threads. They are started on demand and end after some seconds without work. Dropping the last
/// clone waits for none of them: work that goes on is ended with the process.
#[derive(Clone, Debug)]
pub struct BlockingThreads(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    handle: Handle,
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
}

impl BlockingThreads {
    /// Starts one thread, for timers that the work of others may set.
    ///
    /// # Errors
    ///
    /// If the system starts no thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(MAX_THREADS)
            .enable_time()
            .thread_name("control")
            .build()?;
        Ok(Self(Arc::new(Owner {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })))
    }

    /// Has a thread do `work`, or waits for one, where all have some. It is done whether the handle is awaited or
    /// dropped.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.handle.spawn_blocking(work)
    }

    /// The same, and waits for it. A panic in it goes on in the caller.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match self.spawn(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // It has not begun, and never will: the threads have ended.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // To wait could take for ever, and is not allowed on threads of another runtime.
            runtime.shutdown_background();
        }
    }
}

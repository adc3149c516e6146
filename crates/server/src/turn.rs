//! Gives a connection with many requests in flight one turn at a time, like every other.
//!
//! hyper answers up to 16 pipelined requests each time that an HTTP/1 connection is polled, and makes a task
//! of each stream of HTTP/2. Clients with many requests in flight would so have others wait for all of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What the requests of one connection take turns by.
#[derive(Default)]
pub(crate) struct Turn {
    /// Whether an HTTP/1 connection has answered a request since its task was last polled.
    is_used_up: AtomicBool,
    /// Of an HTTP/2 connection: streams that may be begun at the same time.
    streams: OnceLock<Semaphore>,
}

impl Turn {
    /// The task of an HTTP/1 connection is polled.
    pub(crate) fn begin(&self) {
        self.is_used_up.store(false, Ordering::Relaxed);
    }

    /// A request of HTTP/1 has been answered.
    pub(crate) fn use_up(&self) {
        self.is_used_up.store(true, Ordering::Relaxed);
    }

    /// Lets as many streams of HTTP/2 begin at the same time.
    pub(crate) fn limit_streams(&self, limit: usize) {
        self.streams.get_or_init(|| Semaphore::new(limit));
    }

    /// Waits for this request's turn. A stream's turn lasts until the returned value is dropped.
    pub(crate) async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        if let Some(streams) = self.streams.get() {
            // It is never closed, so that this does not fail.
            return streams.acquire().await.ok();
        }
        if self.is_used_up.load(Ordering::Relaxed) {
            // All others that are ready are polled before this.
            tokio::task::yield_now().await;
        }
        None
    }
}

//! Gives a connection with many pipelined requests one turn at a time, like every other.
//!
//! hyper answers up to 16 pipelined requests each time that an HTTP/1 connection is polled. So a
//! client with many requests in flight would make others wait for all of them.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an HTTP/1 connection has answered a request since its task was last polled.
#[derive(Default)]
pub(crate) struct PipelineTurn {
    is_used_up: AtomicBool,
}

impl PipelineTurn {
    /// Called when the task of an HTTP/1 connection is polled.
    pub(crate) fn begin(&self) {
        self.is_used_up.store(false, Ordering::Relaxed);
    }

    /// Called when a request of HTTP/1 has been answered.
    pub(crate) fn use_up(&self) {
        self.is_used_up.store(true, Ordering::Relaxed);
    }

    /// Waits for the connection's next turn, if it has had one already.
    pub(crate) async fn wait(&self) {
        if self.is_used_up.load(Ordering::Relaxed) {
            // All other tasks that are ready are polled before this one.
            tokio::task::yield_now().await;
        }
    }
}

//! Counts what an HTTP/1 connection holds for its client, from the moment that the socket takes no more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use super::count::{ConnectionHeld, HeldTotal, Verdict};
use crate::counters::WorkerId;
use crate::link::ConnectionState;

/// The count of one connection. Nothing is counted as long as the client accepts everything at once.
pub(crate) struct WriteStalls {
    total: Arc<HeldTotal>,
    worker: WorkerId,
    link: ConnectionState,
    send: Duration,
    /// Made at the first stall.
    connection: Option<Arc<ConnectionHeld>>,
    counted: u64,
}

impl WriteStalls {
    pub(crate) fn new(
        total: Arc<HeldTotal>,
        worker: WorkerId,
        link: ConnectionState,
        send: Duration,
    ) -> Self {
        Self {
            total,
            worker,
            link,
            send,
            connection: None,
            counted: 0,
        }
    }

    /// Counts the result of a write of `total` bytes, which is all that hyper has for the client.
    pub(crate) fn watch(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<usize>>,
        total: impl FnOnce() -> usize,
    ) -> Poll<io::Result<usize>> {
        match write {
            Poll::Ready(Ok(written)) => {
                if self.counted > 0 {
                    self.took(written, total());
                }
                write
            }
            Poll::Ready(Err(_)) => write,
            Poll::Pending => self.stalled(cx, total() as u64),
        }
    }

    fn took(&mut self, written: usize, total: usize) {
        let Some(connection) = &self.connection else {
            return;
        };
        connection.written.fetch_add(written as u64, Relaxed);
        // A buffer that is written in part is in memory as a whole.
        if written == total {
            connection.release(self.counted);
            self.counted = 0;
        }
    }

    fn stalled(&mut self, cx: &mut Context<'_>, total: u64) -> Poll<io::Result<usize>> {
        let connection = self.connection.get_or_insert_with(|| {
            let total = Arc::clone(&self.total);
            ConnectionHeld::new(total, self.worker, self.link.clone(), self.send)
        });
        if let Some(more) = total.checked_sub(self.counted) {
            connection.hold(more);
            self.counted = total;
        }
        if connection.poll_verdict(Verdict::Stalled, cx).is_ready() {
            self.link.reset();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl Drop for WriteStalls {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.release(self.counted);
        }
    }
}

//! Detects clients of HTTP/1 that hang up during a request.
//!
//! hyper sees the end of a connection only when it reads, and it does not read while a request's body
//! waits for its reader, nor while bytes of the next request are buffered. So a connection with a request
//! in progress is checked on a timer.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sockets::Stream;

/// How often a connection with a request in progress is checked. Requests that are shorter cost nothing.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Passes the order to check from the task that drives a connection to the connection's I/O, which
/// belongs to hyper meanwhile. hyper flushes whenever it is polled.
#[derive(Default)]
pub(crate) struct HangUpCheck(AtomicBool);

impl HangUpCheck {
    /// Has the next flush or write check the socket.
    pub(crate) fn order(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn cancel(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Checks the socket, if that was ordered.
    ///
    /// # Errors
    ///
    /// When the client has hung up, or has shut down its sending side, which counts as the same.
    pub(crate) fn run(&self, stream: &Stream) -> io::Result<()> {
        if !self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.cancel();
        if !stream.is_hung_up() {
            return Ok(());
        }
        tracing::debug!("client disconnected during a request; cancelling the request");
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

//! HTTP/1.1 as all sockets of this crate speak it, and the wait after an accept that has failed.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::time::sleep;

use crate::Limits;

/// The wait after a failed accept. Each further failure doubles it.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
/// The longest wait: short enough that a freed file descriptor is soon used.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The protocol, with the limits on what a client sends.
pub(crate) fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_header_size(limits.header_size)
        // hyper panics if it is smaller.
        .max_buf_size(limits.header_size.max(8 << 10))
        // As in Unit, a connection has one request.
        .keep_alive(false)
        // Scripts shut down their sending side and wait for the answer.
        .half_close(true);
    builder
}

/// Whether the client has got an answer, which a close must not destroy. hyper answers a request that it cannot parse,
/// too.
pub(crate) fn has_answer(served: &hyper::Result<()>) -> bool {
    match served {
        Ok(()) => true,
        Err(error) => error.is_parse() || error.is_parse_too_large(),
    }
}

/// How long to wait after an accept that has failed.
pub(crate) struct AcceptBackoff(Duration);

impl Default for AcceptBackoff {
    fn default() -> Self {
        Self(MIN_BACKOFF)
    }
}

impl AcceptBackoff {
    /// After an accept that has succeeded.
    pub(crate) fn reset(&mut self) {
        self.0 = MIN_BACKOFF;
    }

    /// Cancel-safe: the next wait is as long again then.
    pub(crate) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(MAX_BACKOFF);
    }
}

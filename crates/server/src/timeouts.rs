//! The timeouts for clients. Those for guests and upstreams are in their own crates.

use std::time::Duration;

/// Every wait for a client, in one place. The defaults are those of Unit's `settings.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// On a new connection, from when it is accepted until its first request is there: for the wait
    /// for the first byte, a TLS handshake, and the header section together. Then for each header section of
    /// HTTP/1, from its first bytes on. Default: 30 seconds. When it passes, the connection is closed, with 408
    /// where the request line was whole.
    ///
    /// An HTTP/2 connection is sent a ping when it has been silent for this long.
    pub header_read: Duration,
    /// After a request, for the first bytes of the next. Default: 180 seconds. When it passes, the
    /// connection is closed: in HTTP/1 with 408, in HTTP/2 with `GOAWAY`.
    pub idle: Duration,
    /// Between two pieces of a request's body. Default: 30 seconds. When it passes, the guest's read
    /// ends in `connection-read-timeout`, the client gets 408 if the response has not begun, and the
    /// connection is closed.
    pub body_read: Duration,
    /// Between two writes that the client takes something of; in HTTP/2 also for 16 KiB of a stream
    /// whose window it keeps closed, for what h2 has of a stream that has finished, and for the answer to a
    /// ping. Default: 30 seconds. When it passes, the connection is reset, or that stream alone, and the
    /// instance cancelled with it; but a stream that has finished ends the connection, after `GOAWAY` and as
    /// long again for requests in progress.
    pub send: Duration,
    /// After which an HTTP/1 connection without a request is parked: its buffers are freed, and allocated again for
    /// its next request. Default: 1 second. Never later than `idle`.
    pub park_after: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let default = Duration::from_secs(30);
        Self {
            header_read: default,
            idle: Duration::from_secs(180),
            body_read: default,
            send: default,
            park_after: Duration::from_secs(1),
        }
    }
}

use std::time::Duration;

/// Every wait for a client, in one place. The defaults are those of Unit's `settings.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a whole header section of HTTP/1, from its first bytes on; and for a TLS
    /// handshake before the first. Default: 30 seconds. At the edge
    /// the client gets 408, unless it is at its handshake, and the connection is closed.
    ///
    /// An HTTP/2 connection is sent a ping when it has been silent for this long.
    pub header_read: Duration,
    /// For the first bytes of a request, on a new connection or behind another request. Default: 180
    /// seconds. At the edge the connection is closed; behind another request, with 408.
    ///
    /// An HTTP/2 connection is closed when it has been without a request for this long, twice that at
    /// most.
    pub idle: Duration,
    /// Between two pieces of a request's body. Default: 30 seconds. At the edge the guest's read
    /// ends in `connection-read-timeout`, the client gets 408 if the response has not begun, and the
    /// connection is closed.
    pub body_read: Duration,
    /// Between two writes that the client takes something of; in HTTP/2 also for 16 KiB of a stream
    /// whose window it keeps closed, for what h2 has of a stream that has finished, and for the answer to a
    /// ping. Default: 30 seconds. At the edge the connection is reset, or that stream alone, and the
    /// instance cancelled with it; but a stream that has finished ends the connection, after `GOAWAY` and as
    /// long again for requests in progress.
    pub send: Duration,
    /// After which an HTTP/1 connection without requests gives its buffers back; they are made again
    /// for its next request. Default: 1 second.
    pub rest: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let default = Duration::from_secs(30);
        Self {
            header_read: default,
            idle: Duration::from_secs(180),
            body_read: default,
            send: default,
            rest: Duration::from_secs(1),
        }
    }
}

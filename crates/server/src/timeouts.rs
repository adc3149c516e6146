use std::time::Duration;

/// Every wait for a client, in one place. The defaults are those of Unit's `settings.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a whole header section of HTTP/1, from the moment the connection waits for one; so it
    /// also bounds how long such a connection may be idle. On a new connection the first bytes have
    /// this long, a TLS handshake included, and the header section as long again; so it is on one that has rested. Default:
    /// 30 seconds. At the edge the connection is closed.
    ///
    /// An HTTP/2 connection is closed when it has been without a request for this long, twice that at
    /// most. It is sent a ping when it has been silent for this long.
    pub header_read: Duration,
    /// Between two pieces of a request's body. Default: 30 seconds. At the edge the guest's read
    /// ends in `connection-read-timeout`, the client gets 408 if the response has not begun, and the
    /// connection is closed.
    pub body_read: Duration,
    /// Between two writes that the client takes something of; in HTTP/2 also for 16 KiB of a stream
    /// whose window it keeps closed, and for the answer to a ping. Default: 30 seconds. At the edge
    /// the connection is reset, or that stream alone, and the instance cancelled with it.
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
            body_read: default,
            send: default,
            rest: Duration::from_secs(1),
        }
    }
}

//! The limits on clients of the control API, in one table.

use std::time::Duration;

/// Limits on the memory and time that clients take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of operators at a time; 128 by default. Further ones wait to be accepted.
    pub connections: usize,
    /// Connections at a time of [`Origin::Proxied`](crate::Origin::Proxied); 8 by default. Further ones
    /// are answered with 503.
    pub proxied_connections: usize,
    /// From the accept to the end of a request's header; 60 s by default, as in
    /// Unit. The connection is closed without an answer.
    pub header_read: Duration,
    /// From the end of the header to the end of the body; 60 s by default. Then
    /// the answer is 408.
    pub body_read: Duration,
    /// How long an answer may make no progress because the client does not read
    /// it; 60 s by default, as in Unit. Then the connection is aborted.
    pub write_stall: Duration,
    /// The bytes of a request's header; 64 KiB by default, and no less than
    /// 8 KiB. A longer one is answered with 431.
    pub header_size: usize,
    /// The bytes of a request's body; 16 MiB by default. A longer one is
    /// answered with 413.
    pub body_size: usize,
    /// The bytes of all bodies of operators together, including those whose changes wait for their turn;
    /// 64 MiB by default.
    pub body_total: usize,
    /// Like `body_total`, for [`Origin::Proxied`](crate::Origin::Proxied); 16 MiB by default.
    pub proxied_body_total: usize,
    /// How long a request waits for room for its body, if the bodies of others have reached the
    /// total; 10 s by default. Then the answer is 503.
    pub body_wait: Duration,
    /// How long a change of [`Origin::Proxied`](crate::Origin::Proxied) waits for those of operators; 10 s
    /// by default. Then the answer is 503.
    pub proxied_turn_wait: Duration,
    /// How long a client that has its answer may continue sending, which is discarded, up to four times `body_size`;
    /// 5 s by default. A close with unread bytes would reset the connection, and the client could lose the answer.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            proxied_connections: 8,
            header_read: Duration::from_secs(60),
            body_read: Duration::from_secs(60),
            write_stall: Duration::from_secs(60),
            header_size: 64 << 10,
            body_size: 16 << 20,
            body_total: 64 << 20,
            proxied_body_total: 16 << 20,
            body_wait: Duration::from_secs(10),
            proxied_turn_wait: Duration::from_secs(10),
            linger: Duration::from_secs(5),
        }
    }
}

//! What a client of the control API may take: one table.

use std::time::Duration;

/// Limits on clients. They bound memory and time, not rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; 128 by default. Further ones wait to be accepted.
    pub connections: usize,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            header_read: Duration::from_secs(60),
            body_read: Duration::from_secs(60),
            write_stall: Duration::from_secs(60),
            header_size: 64 << 10,
            body_size: 16 << 20,
        }
    }
}

//! The time-outs of one request, their defaults and their maxima.

use std::time::Duration;

/// The time-outs of one request. `None` is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection: one from the pool, or a new one, including the look-up of the name and the TLS handshake.
    /// Default: 10 seconds; at most 60. After that the request ends in
    /// [`Error::ConnectTimeout`](crate::Error::ConnectTimeout). The look-up alone has 5 seconds, and TCP 10 for the
    /// addresses of one family.
    pub connect: Option<Duration>,
    /// For the response's header section, from when the connection is established, and again from each piece of the
    /// request's body that is sent, so that a steady upload is not limited. Default: 60 seconds; at most an hour. After
    /// that the request ends in [`Error::FirstByteTimeout`](crate::Error::FirstByteTimeout), and its connection is
    /// closed.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body, counted only while the reader waits for one. Default: 60 seconds; at
    /// most an hour. After that the body ends in [`Error::BetweenBytesTimeout`](crate::Error::BetweenBytesTimeout), and
    /// its connection is closed.
    pub between_bytes: Option<Duration>,
}

/// For opening a connection, even if the request that it was opened for does not wait for it any more.
pub(crate) const LONGEST_CONNECT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

impl Timeouts {
    pub(crate) fn to_connect(self) -> Duration {
        let default = Duration::from_secs(10);
        self.connect.unwrap_or(default).min(LONGEST_CONNECT)
    }

    pub(crate) fn to_first_byte(self) -> Duration {
        let default = Duration::from_secs(60);
        self.first_byte.unwrap_or(default).min(LONGEST_WAIT)
    }

    pub(crate) fn to_next_bytes(self) -> Duration {
        let default = Duration::from_secs(60);
        self.between_bytes.unwrap_or(default).min(LONGEST_WAIT)
    }
}

use std::time::Duration;

/// How long one request waits. `None` stands for the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection: one from the pool, or a new one with the name looked up, TCP
    /// connected and TLS agreed on. Default: 10 seconds; more than 60 seconds is taken for 60. At
    /// the edge the request ends in [`Error::ConnectTimeout`](crate::Error::ConnectTimeout), and the
    /// connection that was being opened is closed. A look-up alone has 5 seconds, and TCP 10 for
    /// the addresses of a family.
    pub connect: Option<Duration>,
    /// From then on, or from the last piece of the request's body that was taken, until the
    /// response's header section is there; so an upload may take as long as it advances. Default: 60
    /// seconds; more than an hour is taken for an hour. At the edge the request ends in
    /// [`Error::FirstByteTimeout`](crate::Error::FirstByteTimeout), and its connection is closed.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body, counted only while the reader waits for one.
    /// Default: 60 seconds; more than an hour is taken for an hour. At the edge the body ends in
    /// [`Error::BetweenBytesTimeout`](crate::Error::BetweenBytesTimeout), and its connection is
    /// closed.
    pub between_bytes: Option<Duration>,
}

/// Within this a connection is opened, whoever waits for it.
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

//! The time-outs of a proxy.

use std::time::Duration;

/// How long a server is waited for. [`Timeouts::default`] has Unit's values; Unit has no options for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a new connection. Default: 60 seconds. After that the request ends in
    /// [`ProxyError::ConnectTimeout`](crate::ProxyError::ConnectTimeout).
    pub connect: Duration,
    /// For each write to make progress. Default: 30 seconds. After that the connection is closed, and the request ends
    /// in [`ProxyError::SendTimeout`](crate::ProxyError::SendTimeout), or its response's body in an error. It holds for
    /// tunnels, too.
    pub send: Duration,
    /// From the end of the request to the end of the response's header section. Default: 60 seconds. Interim responses
    /// (1xx) do not prolong it. After that the request ends in
    /// [`ProxyError::ResponseTimeout`](crate::ProxyError::ResponseTimeout). During an upload the request's body has the
    /// time-out for the client, and `send` is the one for the server.
    pub response: Duration,
    /// Between two pieces of the response's body, counted only while the reader waits for one. Default: 30 seconds.
    /// After that the body ends in
    /// [`ProxyError::BodyTimeout`](crate::ProxyError::BodyTimeout).
    pub read: Duration,
    /// For the rest of a request's body after its response: a server may respond early and read on. Default: 30
    /// seconds. After that the body is cut off, and the connection closed.
    pub after_response: Duration,
    /// How long a [`Tunnel`](crate::Tunnel) may be without data in either direction before it is closed. Default: an
    /// hour; Unit has no limit.
    pub tunnel: Duration,
    /// The same after one side of a tunnel has ended: a client that has closed its connection looks like one that has
    /// only half-closed it. Default: 60 seconds.
    pub half_closed_tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(60),
            send: Duration::from_secs(30),
            response: Duration::from_secs(60),
            read: Duration::from_secs(30),
            after_response: Duration::from_secs(30),
            tunnel: Duration::from_secs(60 * 60),
            half_closed_tunnel: Duration::from_secs(60),
        }
    }
}

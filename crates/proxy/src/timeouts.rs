use std::time::Duration;

/// How long a server is waited for. [`Timeouts::default`] is what Unit waits, which has no options
/// for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection, when none is kept. Default: 60 seconds. At the edge the request ends
    /// in [`ProxyError::ConnectTimeout`](crate::ProxyError::ConnectTimeout).
    pub connect: Duration,
    /// Until the server takes more of what is sent to it; each time that it takes some, it begins
    /// anew. Default: 30 seconds. At the edge the connection is closed, and the request ends in
    /// [`ProxyError::SendTimeout`](crate::ProxyError::SendTimeout), or its response's body in an error.
    /// It holds for tunnels, too.
    pub send: Duration,
    /// From when all of the request is sent until all of the response's header section is there.
    /// Default: 60 seconds. Interim responses (1xx) do not prolong it. At the edge the request ends in
    /// [`ProxyError::ResponseTimeout`](crate::ProxyError::ResponseTimeout). While a body is being
    /// uploaded, the client is waited for, by whoever made the body, and the server by `send`.
    pub response: Duration,
    /// Between two pieces of the response's body, counted only while the reader waits for one.
    /// Default: 30 seconds. At the edge the body ends in
    /// [`ProxyError::BodyTimeout`](crate::ProxyError::BodyTimeout).
    pub read: Duration,
    /// For what is left of a request's body when its response is over: a server may answer early, and read on.
    /// Default: 30 seconds. At the edge the body is given up, and the connection closed.
    pub after_response: Duration,
    /// How long nothing may move in either direction of a [`Tunnel`](crate::Tunnel) until it is
    /// closed. Default: an hour; Unit has no such thing.
    pub tunnel: Duration,
    /// The same once one side of a tunnel has ended: a client that has closed its connection looks like one that
    /// only has no more to say. Default: 60 seconds.
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

//! A connection that has been switched to another protocol.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::counters::InRequest;

/// What the last request of a connection has left of it.
pub(crate) struct Switched {
    /// Bytes both ways, between a client and another server.
    pub(crate) tunnel: proxy::Tunnel,
    /// The request goes on for as long.
    pub(crate) in_request: InRequest,
}

impl Switched {
    /// Carries bytes until both sides have ended. Dropped, it ends both.
    pub(crate) async fn run(self, client: impl AsyncRead + AsyncWrite + Unpin + Send) {
        let Self {
            tunnel,
            in_request: _in_request,
        } = self;
        match tunnel.run_with(client).await {
            Ok((up, down)) => {
                tracing::debug!("a tunnel ended: {up} bytes to the server, {down} to the client");
            }
            // Who of the two has left is not for the server's log.
            Err(error) => tracing::debug!("a tunnel ended: {error}"),
        }
    }
}

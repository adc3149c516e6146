//! A connection that has been switched to another protocol.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::counters::ActiveRequest;

/// A connection that its last request has upgraded.
pub(crate) struct UpgradedConnection {
    /// Bytes both ways, between a client and another server.
    pub(crate) tunnel: proxy::Tunnel,
    /// The request counts as in progress until the tunnel ends.
    pub(crate) in_request: ActiveRequest,
}

impl UpgradedConnection {
    /// Carries bytes until both sides have ended. Dropping the future ends both.
    pub(crate) async fn run(self, client: impl AsyncRead + AsyncWrite + Unpin + Send) {
        let Self {
            tunnel,
            in_request: _in_request,
        } = self;
        match tunnel.run_with(client).await {
            Ok((up, down)) => {
                tracing::debug!("a tunnel ended: {up} bytes to the server, {down} to the client");
            }
            // Debug only: either side may leave at any time.
            Err(error) => tracing::debug!("a tunnel ended: {error}"),
        }
    }
}

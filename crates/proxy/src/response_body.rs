//! The response's body, and what its end means for the connection and for the rest of the upload.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_message::ReceivedBody;
use hyper::body::Incoming;

use crate::exchange::UploadGuard;
use crate::pool::{Connection, Pool};
use crate::tunnel::Tunnel;
use crate::{ProxyError, Server, fields};

/// A response's body as the server sends it, with a limit on the wait for each piece.
///
/// It ends in an error, which is logged, if the server does not complete it; after an error there is nothing more.
/// Dropping it before its end cuts off the rest of the request's body and closes the connection. Reading it to its end
/// returns the connection to its pool.
#[derive(Debug)]
pub struct ResponseBody {
    received: ReceivedBody,
    upload: UploadGuard,
    server: Server,
    /// Returned to the pool when the body is complete.
    keep_alive: Option<KeepAlive>,
    pub(crate) tunnel: Option<Tunnel>,
}

/// A connection that may serve another request.
pub(crate) struct KeepAlive {
    pub(crate) connection: Connection,
    pub(crate) pool: Pool,
}

impl ResponseBody {
    pub(crate) fn new(
        incoming: Incoming,
        timeout: Duration,
        upload: UploadGuard,
        server: Server,
        keep_alive: Option<KeepAlive>,
    ) -> Self {
        let mut body = Self {
            received: ReceivedBody::new(incoming, timeout),
            upload,
            server,
            keep_alive,
            tunnel: None,
        };
        body.note_end();
        body
    }

    /// Takes the tunnel of a 101 response; `None` for all other responses, and the second time.
    ///
    /// The response has to be sent to the client, by a hyper connection with upgrades enabled, while the tunnel is
    /// [run](Tunnel::run) in a task of its own. Without upgrades enabled, it is run when hyper has returned the
    /// connection, by [`Tunnel::run_with`]. If the tunnel is not taken, dropping the body closes the server's
    /// connection.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// Many readers do not poll again after a piece that is marked as the last one.
    fn note_end(&mut self) {
        if self.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        self.received.end();
        self.upload.complete();
        let Some(KeepAlive { connection, pool }) = self.keep_alive.take() else {
            return;
        };
        // Otherwise the connection is still used by the rest of the upload, and closed after it.
        if self.upload.exchange().is_sent() {
            pool.put(&self.server, connection);
        }
    }

    fn fail(&mut self, error: ProxyError) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        self.keep_alive = None;
        let error = self.upload.exchange().explain(error);
        error.log(Some(&self.server));
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if self.received.is_over() {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.received).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.note_end();
                Poll::Ready(Some(Ok(fields::prepare_trailers(frame))))
            }
            Some(Err(error)) => self.fail(error.into()),
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.received.size_hint()
    }
}

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeepAlive")
    }
}

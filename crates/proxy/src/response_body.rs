use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_message::ReceivedBody;
use hyper::body::Incoming;

use crate::exchange::Interest;
use crate::pool::{Connection, Pool};
use crate::{ProxyError, Server, Tunnel, fields};

/// A response's body as the server sends it, with a limit on the wait for each piece.
///
/// It ends in an error if the server does not end it properly, which is in the log then; after an error
/// there is nothing more. Dropped before its end, it takes along what is left of the request's body, and its
/// connection is closed. Read to its end, it gives the connection back to its pool.
#[derive(Debug)]
pub struct ResponseBody {
    received: ReceivedBody,
    interest: Interest,
    server: Server,
    /// What is kept when all went well.
    kept: Option<Kept>,
    pub(crate) tunnel: Option<Tunnel>,
}

pub(crate) struct Kept {
    pub(crate) connection: Connection,
    pub(crate) pool: Pool,
}

impl ResponseBody {
    pub(crate) fn new(
        incoming: Incoming,
        timeout: Duration,
        interest: Interest,
        server: Server,
        kept: Option<Kept>,
    ) -> Self {
        let mut body = Self {
            received: ReceivedBody::new(incoming, timeout),
            interest,
            server,
            kept,
            tunnel: None,
        };
        body.note_end();
        body
    }

    /// As [`tunnel`](crate::tunnel()) does, for who has the body by itself.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// Many readers do not ask again when the last piece says that it is.
    fn note_end(&mut self) {
        if self.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        self.received.end();
        self.interest.satisfy();
        let Some(Kept { connection, pool }) = self.kept.take() else {
            return;
        };
        // Else the rest of the upload has it.
        if self.interest.exchange().is_sent() {
            pool.put(&self.server, connection);
        }
    }

    fn fail(&mut self, error: ProxyError) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        self.kept = None;
        let error = self.interest.exchange().explain(error);
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

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

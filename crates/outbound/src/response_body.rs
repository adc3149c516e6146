use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::Error;
use crate::exchange::Interest;

/// A response's body as the server sends it, with a limit on the wait for each piece.
///
/// It ends in an error if the server does not end it properly; after an error there is nothing
/// more. Dropped before its end, it takes along what is left of the request's body, and its
/// connection (HTTP/1) or stream (HTTP/2) is closed.
#[derive(Debug)]
pub struct ResponseBody {
    /// `None` once it has ended.
    incoming: Option<Incoming>,
    between_bytes: Duration,
    /// Armed while a piece is awaited.
    waiting: Option<Pin<Box<Sleep>>>,
    interest: Interest,
}

impl ResponseBody {
    pub(crate) fn new(incoming: Incoming, between_bytes: Duration, interest: Interest) -> Self {
        let mut body = Self {
            incoming: Some(incoming),
            between_bytes,
            waiting: None,
            interest,
        };
        body.note_end();
        body
    }

    fn note_end(&mut self) {
        if self.incoming.as_ref().is_some_and(Body::is_end_stream) {
            self.interest.satisfy();
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.incoming = None;
        Poll::Ready(Some(Err(self.interest.exchange().explain(error))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let mut polled = Pin::new(incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && frame.data_ref().is_some_and(Bytes::is_empty)
        {
            // HTTP/2 has pieces without bytes. A server is not waited for any longer for sending
            // them, nor does it keep the thread.
            cx.waker().wake_by_ref();
            polled = Poll::Pending;
        }
        match polled {
            Poll::Ready(frame) => {
                self.waiting = None;
                match frame {
                    Some(Ok(frame)) => {
                        self.note_end();
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Some(Err(error)) => self.fail(Error::of_receiving(&error)),
                    None => {
                        self.incoming = None;
                        self.interest.satisfy();
                        Poll::Ready(None)
                    }
                }
            }
            Poll::Pending => {
                let between_bytes = self.between_bytes;
                let waiting = self
                    .waiting
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(between_bytes)));
                match waiting.as_mut().poll(cx) {
                    Poll::Ready(()) => self.fail(Error::BetweenBytesTimeout),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

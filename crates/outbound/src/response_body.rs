//! The response's body, and what its end means for the rest of the upload.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_message::ReceivedBody;
use hyper::body::Incoming;

use crate::Error;
use crate::exchange::UploadGuard;

/// A response's body as the server sends it, with a limit on the wait for each piece.
///
/// It ends in an error if the server does not complete it; after an error there is nothing more. Dropping it before its
/// end cuts off the rest of the request's body, and closes the connection (HTTP/1) or resets the stream (HTTP/2).
#[derive(Debug)]
pub struct ResponseBody {
    received: ReceivedBody,
    upload: UploadGuard,
}

impl ResponseBody {
    pub(crate) fn new(incoming: Incoming, between_bytes: Duration, upload: UploadGuard) -> Self {
        let mut body = Self {
            received: ReceivedBody::new(incoming, between_bytes),
            upload,
        };
        body.note_end();
        body
    }

    fn note_end(&mut self) {
        if self.is_end_stream() {
            self.upload.complete();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.received.is_over() {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.received).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.note_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let error = self.upload.exchange().explain(error.into());
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.upload.complete();
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

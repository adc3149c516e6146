//! The request's body on its way to the server: its length, its progress, and its cancellation.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use http_message::{CutOff, Length, ReadAhead, SentBody};

use crate::exchange::Exchange;
use crate::{BoxError, Error};

/// How long a guest may pause within its body before the head is sent. The guest may compute on another thread.
const PAUSE: Duration = Duration::from_millis(2);

/// A request's body on its way to the server.
pub(crate) struct RequestBody {
    body: SentBody,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    /// `announced` is what the `content-length` field says, if there is one.
    pub(crate) fn new<B>(body: B, announced: Option<u64>, exchange: Arc<Exchange>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // hyper announces an exact size, so it must be kept. For an empty body `length` decides what is announced.
        let exact = body.size_hint().exact().filter(|&length| length > 0);
        Self {
            body: SentBody::new(body, announced.or(exact)),
            exchange,
        }
    }

    /// Decides the length of the body; if it is unknown, the body is read ahead for that. `None` if one was announced.
    pub(crate) async fn length(
        &mut self,
        method: &Method,
        keeps_trailers: bool,
    ) -> Result<Option<Length>, Error> {
        let announced = self.body.announced();
        if !self.body.is_end_stream() && announced.is_none_or(|length| length == 0) {
            let mut ahead = ReadAhead::new(method, PAUSE);
            poll_fn(|cx| ahead.poll(&mut self.body, cx)).await?;
        }
        Ok(match announced {
            Some(_) => None,
            None => Some(self.body.decide(method, keeps_trailers)),
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if self.exchange.is_cancelled(cx.waker()) {
            self.body.discard();
            return Poll::Ready(Some(Err(CutOff)));
        }
        let before = self.body.given();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.body.given() != before {
            self.exchange.record_progress();
        }
        polled.map_err(|error| {
            self.exchange.fail(error.into());
            CutOff
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

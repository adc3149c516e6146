use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use message::{CutOff, SentBody};

use crate::exchange::Exchange;
use crate::{BoxError, Error};

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
        // hyper announces an exact size, so that it becomes one to keep.
        let announced = announced.or_else(|| body.size_hint().exact());
        Self {
            body: SentBody::new(body, announced),
            exchange,
        }
    }

    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.announced()
    }

    /// Reads until it is known whether the body has a first byte, or trailers.
    pub(crate) async fn begin(&mut self) -> Result<bool, Error> {
        Ok(std::future::poll_fn(|cx| self.body.poll_begin(cx)).await?)
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
        let before = self.body.reads();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.body.reads() != before {
            self.exchange.moves();
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

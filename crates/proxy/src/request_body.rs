//! The request's body as a connection sees it. The body itself is in `exchange`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_message::CutOff;

use crate::exchange::Exchange;

/// The body as hyper's connection polls it.
#[derive(Debug)]
pub(crate) struct RequestBody(Arc<Exchange>);

impl RequestBody {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self(exchange)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        self.0.poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.left().0
    }

    fn size_hint(&self) -> SizeHint {
        self.0.left().1
    }
}

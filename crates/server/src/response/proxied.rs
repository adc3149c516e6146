//! The body of another server's response.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use proxy::ProxyError;

/// The body of another server's response.
pub(crate) struct Proxied {
    body: proxy::ResponseBody,
    /// Why it is cut off, which is not told yet.
    failure: Option<ProxyError>,
}

impl Proxied {
    pub(crate) fn new(body: proxy::ResponseBody) -> Self {
        Self {
            body,
            failure: None,
        }
    }

    /// What the request has become, if it was switched to another protocol.
    pub(crate) fn tunnel(&mut self) -> Option<proxy::Tunnel> {
        self.body.take_tunnel()
    }
}

impl Body for Proxied {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(failure))) => {
                // hyper drops what it has not flushed when a body fails, the head included. It
                // flushes when there is nothing more to be had for the moment, so that comes first.
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Bodies of requests that guests may keep for longer than the request takes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};

use crate::request::RequestBodyError;

/// Lends the request's body: it is taken back when the returned value is dropped, wherever the guest
/// has put it.
///
/// An instance that serves further requests may still have the body of this one, with which its client's
/// connection would wait until the instance ends.
pub(crate) fn lend<B>(request: Request<B>) -> (Request<Lent<B>>, Lender)
where
    B: Send + 'static,
{
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(Some(body)));
    let lender = Lender(Arc::clone(&body) as Arc<dyn TakeBack>);
    (Request::from_parts(parts, Lent(body)), lender)
}

/// Whoever has lent a body.
pub(crate) struct Lender(Arc<dyn TakeBack>);

impl Drop for Lender {
    fn drop(&mut self) {
        self.0.take_back();
    }
}

trait TakeBack: Send + Sync {
    fn take_back(&self);
}

impl<B: Send> TakeBack for Mutex<Option<B>> {
    fn take_back(&self) {
        let body = self.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Not under the lock: dropping it may wake others up.
        drop(body);
    }
}

/// A body that may be taken back, which ends it as if its client had left.
pub(crate) struct Lent<B>(Arc<Mutex<Option<B>>>);

impl<B> Lent<B> {
    fn with<T>(&self, of: impl FnOnce(&mut B) -> T) -> Option<T> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.as_mut().map(of)
    }
}

impl<B> Body for Lent<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<RequestBodyError>,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        self.with(|body| Pin::new(body).poll_frame(cx)).map_or(
            Poll::Ready(Some(Err(RequestBodyError::Disconnected))),
            |frame| frame.map_err(Into::into),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream()).unwrap_or(false)
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint()).unwrap_or_default()
    }
}

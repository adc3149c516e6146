use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::exchange::Exchange;
use crate::{BoxError, Error};

/// A request's body on its way to the server, which never looks whole when it is not.
///
/// When as much has been read as was announced, the last piece waits until the body says that it
/// has ended: a body that turns out to be longer has then not been sent as a whole one.
pub(crate) struct RequestBody {
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// Read, and not yet counted.
    next: Option<Frame<Bytes>>,
    /// Counted, and waits for the end.
    last: Option<Frame<Bytes>>,
    announced: Option<u64>,
    /// Of what was announced.
    left: u64,
    exchange: Arc<Exchange>,
}

/// What hyper is told of a body that failed. The reason waits in the [`Exchange`].
#[derive(Debug, thiserror::Error)]
#[error("the request's body was cut off")]
pub(crate) struct CutOff;

impl RequestBody {
    /// `announced` is what the `content-length` field says, if there is one.
    pub(crate) fn new<B>(body: B, announced: Option<u64>, exchange: Arc<Exchange>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // hyper announces an exact size, so that it becomes one to keep.
        let announced = announced.or_else(|| body.size_hint().exact());
        let ended = body.is_end_stream();
        Self {
            inner: (!ended).then(|| body.map_err(Into::into).boxed_unsync()),
            next: None,
            last: None,
            announced,
            left: announced.unwrap_or(0),
            exchange,
        }
    }

    pub(crate) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Reads until it is known whether the body has a first byte, or trailers.
    pub(crate) async fn begin(&mut self) -> Result<bool, Error> {
        std::future::poll_fn(|cx| self.poll_begin(cx)).await
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        while let Some(inner) = &mut self.inner {
            match ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Ok(frame)) if is_empty(&frame) => {
                    // Whoever has endless empty pieces ready must not keep the thread.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Ok(frame)) => {
                    if self.announced == Some(0) && frame.is_data() {
                        return Poll::Ready(Err(Error::RequestBodySize { announced: 0 }));
                    }
                    self.next = Some(frame);
                    return Poll::Ready(Ok(true));
                }
                Some(Err(error)) => return Poll::Ready(Err(Error::RequestBody(error))),
                None => self.inner = None,
            }
        }
        Poll::Ready(Ok(false))
    }

    fn cut_off(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        self.exchange.fail(error);
        self.inner = None;
        self.last = None;
        Poll::Ready(Some(Err(CutOff)))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.next.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
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
            self.inner = None;
            self.last = None;
            return Poll::Ready(Some(Err(CutOff)));
        }
        loop {
            let frame = match ready!(self.poll_next(cx)) {
                None if self.left > 0 => break,
                None => {
                    self.inner = None;
                    return Poll::Ready(self.last.take().map(Ok));
                }
                Some(Err(error)) => return self.cut_off(Error::RequestBody(error)),
                Some(Ok(frame)) if is_empty(&frame) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Ok(frame)) => frame,
            };
            self.exchange.moves();
            let (Some(length), Some(_)) = (data_length(&frame), self.announced) else {
                if frame.is_trailers() && self.left > 0 {
                    break;
                }
                // Trailers are the end that the last piece has waited for.
                return Poll::Ready(Some(Ok(match self.last.take() {
                    Some(last) => {
                        self.next = Some(frame);
                        last
                    }
                    None => frame,
                })));
            };
            if length > self.left {
                break;
            }
            self.left -= length;
            let ended = self.inner.as_ref().is_none_or(Body::is_end_stream);
            if self.left > 0 {
                return Poll::Ready(Some(Ok(frame)));
            }
            if ended {
                self.inner = None;
                return Poll::Ready(Some(Ok(frame)));
            }
            self.last = Some(frame);
        }
        let announced = self.announced.unwrap_or(0);
        self.cut_off(Error::RequestBodySize { announced })
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.last.is_none() && self.left == 0 && self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, |_| SizeHint::with_exact(self.left))
    }
}

fn data_length(frame: &Frame<Bytes>) -> Option<u64> {
    frame.data_ref().map(|data| data.len() as u64)
}

fn is_empty(frame: &Frame<Bytes>) -> bool {
    data_length(frame) == Some(0)
}

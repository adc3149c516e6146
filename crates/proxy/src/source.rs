use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::{BoxError, ProxyError, fields};

/// A request's body on its way to the server, which never looks whole when it is not.
///
/// When as much has been read as was announced, the last piece waits until the body says that it
/// has ended: a body that turns out to be longer has then not been sent as a whole one.
pub(crate) struct Source {
    /// `None` once it has ended.
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// Read, and to be given behind what was given.
    next: Option<Frame<Bytes>>,
    /// Counted, and waits for the end.
    last: Option<Frame<Bytes>>,
    announced: Option<u64>,
    /// Of what was announced.
    left: u64,
    is_begun: bool,
}

/// What hyper is told of a body that failed. The reason waits in the exchange.
#[derive(Debug, thiserror::Error)]
#[error("the request's body was cut off")]
pub(crate) struct CutOff;

impl Source {
    /// `announced` is what the server is told, if it is told a length.
    pub(crate) fn new<B>(body: B, announced: Option<u64>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // Of a length of 0 there is nothing to be read, whatever the body has.
        let is_empty = body.is_end_stream() || announced == Some(0);
        Self {
            inner: (!is_empty).then(|| body.map_err(Into::into).boxed_unsync()),
            next: None,
            last: None,
            announced,
            left: announced.unwrap_or(0),
            is_begun: false,
        }
    }

    /// Whether all of it has been given.
    pub(crate) fn is_over(&self) -> bool {
        self.next.is_none() && self.last.is_none() && self.left == 0 && self.inner.is_none()
    }

    /// Whether anything of it has been read.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// How much there is, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.announced.map(|_| self.left)
    }

    /// Gives up what is left.
    pub(crate) fn discard(&mut self) {
        self.inner = None;
        self.next = None;
        self.last = None;
        self.is_begun = true;
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        loop {
            let frame = match ready!(self.poll_next(cx)) {
                None if self.left > 0 => break,
                None => {
                    self.inner = None;
                    return Poll::Ready(self.last.take().map(Ok));
                }
                Some(Err(error)) => {
                    self.is_begun = true;
                    return Poll::Ready(Some(Err(ProxyError::RequestBody(error))));
                }
                Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                    // Whoever has endless empty pieces ready must not keep the thread.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Ok(frame)) => frame,
            };
            self.is_begun = true;
            let length = frame.data_ref().map(|data| data.len() as u64);
            let (Some(length), Some(_)) = (length, self.announced) else {
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
            let is_ended = self.inner.as_ref().is_none_or(Body::is_end_stream);
            if self.left > 0 {
                return Poll::Ready(Some(Ok(frame)));
            }
            if is_ended {
                self.inner = None;
                return Poll::Ready(Some(Ok(frame)));
            }
            self.last = Some(frame);
        }
        let announced = self.announced.unwrap_or(0);
        Poll::Ready(Some(Err(ProxyError::RequestBodySize { announced })))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.next.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let frame = match ready!(Pin::new(inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                fields::prepare_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("announced", &self.announced)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

//! Bodies on their way to a server, with the check that they are as long as announced.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::box_error::BoxError;
use crate::held_body::HeldBody;
use crate::length::Length;
use crate::limits::READ_AHEAD;

/// A body on its way to a server, which never looks complete when it is not.
///
/// The piece that completes the announced length is sent only when the body has ended, so that a longer body is not
/// sent as a complete one.
pub struct SentBody {
    /// `None` once it has ended.
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// Read ahead, and not yet counted.
    ahead: HeldBody,
    /// They follow what was read ahead, and end the body.
    trailers: Option<HeaderMap>,
    /// The piece that completes the announced length; waits for the end of the body.
    last: Option<Frame<Bytes>>,
    announced: Option<u64>,
    /// Bytes of the announced length that are still to come.
    left: u64,
    given: u64,
}

/// Why a body is cut off. The rest of it is dropped.
#[derive(Debug, thiserror::Error)]
pub enum SentBodyError {
    /// It is shorter or longer than was announced.
    #[error("the body does not have the announced {announced} bytes")]
    Size {
        /// How long it should be.
        announced: u64,
    },
    /// Reading it failed.
    #[error("the body failed: {0}")]
    Failed(BoxError),
}

/// The error that hyper gets for a body that failed. The caller keeps the reason, and does not need it back from hyper.
#[derive(Debug, thiserror::Error)]
#[error("the request's body was cut off")]
pub struct CutOff;

impl SentBody {
    /// `announced` is the length that the head announces, if it does.
    pub fn new<B>(body: B, announced: Option<u64>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let is_over = body.is_end_stream();
        Self {
            inner: (!is_over).then(|| body.map_err(Into::into).boxed_unsync()),
            ahead: HeldBody::default(),
            trailers: None,
            last: None,
            announced,
            left: announced.unwrap_or(0),
            given: 0,
        }
    }

    /// The announced length.
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// How many pieces, or errors, it has returned. As long as it is 0, all of the body is still here.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Whether a byte has been read ahead.
    pub fn has_begun(&self) -> bool {
        self.ahead.length() > 0
    }

    /// Whether the server has been sent all that was announced. Trailers may be left, which cannot follow a body with a
    /// length.
    pub fn is_sent(&self) -> bool {
        let has_all = self.announced.is_some() && self.left == 0 && self.last.is_none();
        has_all || self.is_end_stream()
    }

    /// Drops the rest. It counts as [given](SentBody::given).
    pub fn discard(&mut self) {
        self.inner = None;
        self.ahead = HeldBody::default();
        self.trailers = None;
        self.last = None;
        self.given += 1;
    }

    /// Reads ahead until the body has ended, or [`READ_AHEAD`] bytes have been read.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SentBodyError>> {
        while self.inner.is_some() && self.ahead.length() < READ_AHEAD {
            match ready!(self.poll_inner(cx)) {
                None => {}
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.ahead.push(&data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.inner = None;
                    }
                },
                Some(Err(error)) => {
                    self.discard();
                    return Poll::Ready(Err(SentBodyError::Failed(error)));
                }
            }
            if self.announced == Some(0) && self.has_begun() {
                self.discard();
                return Poll::Ready(Err(SentBodyError::Size { announced: 0 }));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Decides the length of a body without an announced one, by what was read ahead. Trailers that are to be sent need
    /// chunks.
    pub fn decide(&mut self, method: &Method, keeps_trailers: bool) -> Length {
        let length = self.ahead.length();
        let needs_chunks = self.trailers.is_some() && (keeps_trailers || length == 0);
        if self.inner.is_some() || needs_chunks {
            return Length::Unknown;
        }
        if length == 0 {
            return Length::of_no_body(method);
        }
        self.announced = Some(length);
        self.left = length;
        Length::Exactly(length)
    }

    /// The next piece that is not empty.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = if let Some(data) = self.ahead.pop() {
            Some(Ok(Frame::data(data)))
        } else if let Some(trailers) = self.trailers.take() {
            Some(Ok(Frame::trailers(trailers)))
        } else {
            ready!(self.poll_inner(cx))
        };
        if frame.is_some() {
            self.given += 1;
        }
        Poll::Ready(frame)
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = ready!(Pin::new(inner).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                // Endless empty pieces must not block the thread.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(_) => {}
            None => self.inner = None,
        }
        Poll::Ready(polled)
    }

    fn poll_whole(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SentBodyError>>> {
        loop {
            let frame = match ready!(self.poll_next(cx)) {
                None if self.left > 0 => break,
                None => return Poll::Ready(self.last.take().map(Ok)),
                Some(Err(error)) => return Poll::Ready(Some(Err(SentBodyError::Failed(error)))),
                Some(Ok(frame)) => frame,
            };
            let length = frame.data_ref().map(|data| data.len() as u64);
            let (Some(length), Some(_)) = (length, self.announced) else {
                if frame.is_trailers() && self.left > 0 {
                    break;
                }
                // Trailers end the body, which is what the last piece waits for.
                return Poll::Ready(Some(Ok(match self.last.take() {
                    Some(last) => {
                        self.trailers = frame.into_trailers().ok();
                        last
                    }
                    None => frame,
                })));
            };
            if length > self.left {
                break;
            }
            self.left -= length;
            let is_read = self.ahead.length() == 0 && self.trailers.is_none();
            let is_ended = is_read && self.inner.as_ref().is_none_or(Body::is_end_stream);
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
        Poll::Ready(Some(Err(SentBodyError::Size { announced })))
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = SentBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SentBodyError>>> {
        let polled = self.poll_whole(cx);
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.discard();
        }
        polled
    }

    /// Whether all of it has been returned.
    fn is_end_stream(&self) -> bool {
        let is_read = self.ahead.length() == 0 && self.trailers.is_none();
        is_read && self.last.is_none() && self.left == 0 && self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, |_| SizeHint::with_exact(self.left))
    }
}

impl fmt::Debug for SentBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentBody")
            .field("announced", &self.announced)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::BoxError;

/// A body on its way to a server, which never looks whole when it is not.
///
/// When as much has been read as was announced, the last piece waits until the body says that it
/// has ended: a body that turns out to be longer has then not been sent as a whole one.
pub struct SentBody {
    /// `None` once it has ended.
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// Read, and not yet counted.
    next: Option<Frame<Bytes>>,
    /// Counted, and waits for the end.
    last: Option<Frame<Bytes>>,
    announced: Option<u64>,
    /// Of what was announced.
    left: u64,
    reads: u64,
}

/// Why a body ends before its end. What is left of it is given up.
#[derive(Debug, thiserror::Error)]
pub enum SentBodyError {
    /// It is shorter or longer than was announced.
    #[error("the body is not of the announced {announced} bytes")]
    Size {
        /// How long it should be.
        announced: u64,
    },
    /// Reading it failed.
    #[error("the body failed: {0}")]
    Failed(BoxError),
}

/// What hyper is told of a body that failed. The reason waits elsewhere, for whoever asked.
#[derive(Debug, thiserror::Error)]
#[error("the request's body was cut off")]
pub struct CutOff;

impl SentBody {
    /// `announced` is what the server is told, if it is told a length.
    pub fn new<B>(body: B, announced: Option<u64>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let is_over = body.is_end_stream();
        Self {
            inner: (!is_over).then(|| body.map_err(Into::into).boxed_unsync()),
            next: None,
            last: None,
            announced,
            left: announced.unwrap_or(0),
            reads: 0,
        }
    }

    /// What the server is told.
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// How often something of it was read, be it an error. 0 as long as it is as it was given.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Gives up what is left. What was given up counts as read.
    pub fn discard(&mut self) {
        self.inner = None;
        self.next = None;
        self.last = None;
        self.reads += 1;
    }

    /// Reads until it is known whether the body has a first byte, or trailers, which is kept for
    /// [`poll_frame`](Body::poll_frame).
    pub fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SentBodyError>> {
        if self.next.is_some() {
            return Poll::Ready(Ok(true));
        }
        match ready!(self.poll_next(cx)) {
            Some(Ok(frame)) => {
                if self.announced == Some(0) && frame.is_data() {
                    return Poll::Ready(Err(SentBodyError::Size { announced: 0 }));
                }
                self.next = Some(frame);
                Poll::Ready(Ok(true))
            }
            Some(Err(error)) => Poll::Ready(Err(SentBodyError::Failed(error))),
            None => Poll::Ready(Ok(false)),
        }
    }

    /// The next piece that is not empty.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.next.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = ready!(Pin::new(inner).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                // Whoever has endless empty pieces ready must not keep the thread.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(_) => self.reads += 1,
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

    /// Whether all of it has been given.
    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.last.is_none() && self.left == 0 && self.inner.is_none()
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

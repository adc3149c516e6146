use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::Patience;

/// A body as a server sends it, with a limit on the wait for each piece, which counts only while the
/// reader waits for one. After an error there is nothing more.
#[derive(Debug)]
pub struct ReceivedBody {
    /// `None` once it has ended.
    incoming: Option<Incoming>,
    patience: Patience,
}

/// Why a body ends before its end.
#[derive(Debug)]
pub enum ReceivedBodyError {
    /// A piece did not come in time.
    Late,
    /// It was not ended properly.
    Failed(hyper::Error),
}

impl ReceivedBody {
    /// A body of which no piece may take longer than `limit`.
    pub fn new(incoming: Incoming, limit: Duration) -> Self {
        Self {
            incoming: Some(incoming),
            patience: Patience::new(limit),
        }
    }

    /// Has nothing more come of it.
    pub fn end(&mut self) {
        self.incoming = None;
    }

    /// Whether that is so: it was read to its end, has failed, or was ended.
    pub fn is_over(&self) -> bool {
        self.incoming.is_none()
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = ReceivedBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReceivedBodyError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let mut polled = Pin::new(incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && frame.data_ref().is_some_and(Bytes::is_empty)
        {
            // HTTP/2 has pieces without bytes. A server is not waited for any longer for sending
            // them, nor does it keep the thread.
            cx.waker().wake_by_ref();
            polled = Poll::Pending;
        }
        let end = match polled {
            Poll::Ready(frame) => {
                self.patience.rest();
                match frame {
                    Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                    Some(Err(error)) => Some(Err(ReceivedBodyError::Failed(error))),
                    None => None,
                }
            }
            Poll::Pending => {
                ready!(self.patience.poll_over(cx));
                Some(Err(ReceivedBodyError::Late))
            }
        };
        self.end();
        Poll::Ready(end)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What hyper says of chunks that are none, if a body has failed for that. Who has something else below
/// HTTP that fails with [`io::ErrorKind::InvalidData`], as TLS does, has to tell it apart.
pub fn malformed(error: &hyper::Error) -> Option<&io::Error> {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let io = causes.find_map(|cause| cause.downcast_ref::<io::Error>())?;
    matches!(
        io.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
    .then_some(io)
}

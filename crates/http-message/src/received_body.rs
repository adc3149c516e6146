//! Bodies from a server.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{SmallPieces, StallTimer};

/// Small pieces that are joined, at most. The connection's task has to run once for each.
const MAX_RECEIVED_TOGETHER: usize = 16;

/// How often the reader waits for another small piece. hyper polls a body up to twice each time its task runs, and the
/// connection's task has to run in between.
const MAX_WAITS: u8 = 2;

/// A body from a server, with a limit on the wait for each piece, which counts only while the reader waits for one.
/// Small pieces that have been received are joined. After an error there is nothing more.
#[derive(Debug)]
pub struct ReceivedBody {
    /// `None` once it has ended.
    incoming: Option<Incoming>,
    stall_timer: StallTimer,
    small: SmallPieces,
    /// Pieces that have been gathered.
    count: usize,
    /// How often the reader has been made wait since the last piece.
    waits: u8,
    /// Comes after what is gathered.
    next: Option<Received>,
}

type Received = Option<Result<Frame<Bytes>, ReceivedBodyError>>;

/// Why a body is truncated.
#[derive(Debug)]
pub enum ReceivedBodyError {
    /// A piece did not come in time.
    Late,
    /// It was not completed.
    Failed(hyper::Error),
}

impl ReceivedBody {
    /// A body of which no piece may take longer than `limit`.
    pub fn new(incoming: Incoming, limit: Duration) -> Self {
        Self {
            incoming: Some(incoming),
            stall_timer: StallTimer::new(limit),
            small: SmallPieces::default(),
            count: 0,
            waits: 0,
            next: None,
        }
    }

    /// Drops the rest of the body; the next poll returns `None`.
    pub fn end(&mut self) {
        self.incoming = None;
        self.small = SmallPieces::default();
        self.next = None;
    }

    /// Whether the body was read to its end, has failed, or was ended.
    pub fn is_over(&self) -> bool {
        self.incoming.is_none()
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = ReceivedBodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received> {
        let received = match self.next.take() {
            Some(next) => next,
            None => ready!(self.poll_received(cx)),
        };
        if !matches!(received, Some(Ok(_))) {
            self.end();
        }
        Poll::Ready(received)
    }

    fn is_end_stream(&self) -> bool {
        let is_end = self.incoming.as_ref().is_none_or(Body::is_end_stream);
        is_end && self.small.is_empty() && matches!(self.next, None | Some(None))
    }

    /// Exact only before the first poll: pieces that have been joined are not counted.
    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl ReceivedBody {
    /// What the reader is given next.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        while let Some(incoming) = &mut self.incoming {
            match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if is_empty(&frame) => {
                    if !self.small.is_empty() {
                        break;
                    }
                    // HTTP/2 has empty pieces. They do not count as progress, and must not block the thread.
                    cx.waker().wake_by_ref();
                    ready!(self.stall_timer.poll_expired(cx));
                    return Poll::Ready(Some(Err(ReceivedBodyError::Late)));
                }
                Poll::Ready(Some(Ok(frame))) if SmallPieces::is_small(&frame) => {
                    let is_over = incoming.is_end_stream();
                    if let Ok(data) = frame.into_data() {
                        self.push(data);
                    }
                    if is_over || self.small.is_enough() || self.count >= MAX_RECEIVED_TOGETHER {
                        break;
                    }
                }
                Poll::Ready(received) => {
                    self.stall_timer.disarm();
                    let received = received.map(|frame| frame.map_err(ReceivedBodyError::Failed));
                    if self.small.is_empty() {
                        return Poll::Ready(received);
                    }
                    self.next = Some(received);
                    break;
                }
                Poll::Pending if self.small.is_empty() => {
                    ready!(self.stall_timer.poll_expired(cx));
                    return Poll::Ready(Some(Err(ReceivedBodyError::Late)));
                }
                Poll::Pending if self.waits >= MAX_WAITS => break,
                Poll::Pending => {
                    // Polling has woken the connection's task, which decodes the next piece, if there is one.
                    self.waits += 1;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        self.count = 0;
        self.waits = 0;
        Poll::Ready(self.small.take().map(|gathered| Ok(Frame::data(gathered))))
    }

    fn push(&mut self, piece: Bytes) {
        self.stall_timer.disarm();
        self.small.push(piece);
        self.count += 1;
        self.waits = 0;
    }
}

fn is_empty(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(Bytes::is_empty)
}

/// hyper's error for malformed chunks, if a body has failed because of them. TLS below HTTP fails with
/// [`io::ErrorKind::InvalidData`], too, so its callers have to check for that first.
pub fn malformed(error: &hyper::Error) -> Option<&io::Error> {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let io = causes.find_map(|cause| cause.downcast_ref::<io::Error>())?;
    matches!(
        io.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
    .then_some(io)
}

//! A request's body as hyper receives it. What is unread when it is dropped is drained by the connection's task.
//! Without that, hyper would close the connection, and the unread bytes would turn the close into a reset, which may
//! destroy the response on its way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use http_message::{StallTimer, has_token};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::held::{StreamState, current_stream};
use crate::link::{ConnectionState, DrainQueue, Drained, InFlightGuard, UnreadBody};
use crate::settings::Settings;

/// Bytes of a body that are discarded so that its connection can serve further requests. Less where
/// [`Settings::max_body_size`] allows less.
const MAX_DRAINED: u64 = 1024 * 1024;

/// Bytes that are discarded so that a stream of HTTP/2 ends without a reset, or while a response is
/// being sent after which the connection is closed.
pub(crate) const MAX_DISCARDED: u64 = 64 * 1024 * 1024;

/// How long a client that has its last response may send nothing before its connection is closed.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(2);

/// The most pieces that are drained: each, even one of one byte, costs a turn of the connection's task.
const MAX_DRAINED_PIECES: u32 = 4096;
const MAX_DISCARDED_PIECES: u32 = 64 * 1024;

/// The limit for all of a body.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(30);

/// Pieces that are read before other tasks have their turn.
const PIECES_A_TURN: u32 = 32;

/// A request's body as hyper receives it. What is unread when this is dropped is left to the task of
/// its connection, or of its stream in HTTP/2, which drains it.
pub(crate) struct ClientBody {
    /// `None` only while it is dropped.
    incoming: Option<Incoming>,
    /// `None` where there is no content.
    source: Option<BodySource>,
}

struct BodySource {
    open: OpenBody,
    stall_timeout: Duration,
    /// Bytes that [`Settings::max_body_size`] still allows.
    left: u64,
    /// The client waits for `100 Continue`, and nothing has come.
    awaits_continue: bool,
    is_over: bool,
}

impl ClientBody {
    /// The body of a request with this head.
    pub(crate) fn new(
        incoming: Incoming,
        head: &Parts,
        settings: &Settings,
        link: &ConnectionState,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self {
                incoming: Some(incoming),
                source: None,
            };
        }
        let open = OpenBody::new(link);
        let is_http1 = head.version < Version::HTTP_2;
        let awaits_continue =
            head.version == Version::HTTP_11 && has_token(&head.headers, &EXPECT, "100-continue");
        if is_http1 {
            let asks_for_close = asks_for_close(head.version, &head.headers);
            (open.queue.queue()).begin_body(awaits_continue, asks_for_close);
        }
        Self {
            incoming: Some(incoming),
            source: Some(BodySource {
                open,
                stall_timeout: settings.timeouts.body_read,
                left: settings.max_body_size,
                awaits_continue,
                is_over: false,
            }),
        }
    }

    pub(crate) fn has_content(&self) -> bool {
        self.source.is_some()
    }
}

/// Whether the client asks for the connection to be closed after the response (RFC 9112, section 9.3).
fn asks_for_close(version: Version, headers: &HeaderMap) -> bool {
    has_token(headers, &CONNECTION, "close")
        || version < Version::HTTP_11 && !has_token(headers, &CONNECTION, "keep-alive")
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(&mut *incoming).poll_frame(cx);
        let is_at_end = frame.is_ready() && incoming.is_end_stream();
        if frame.is_pending()
            && let Some(source) = self.source.as_ref().filter(|it| it.awaits_continue)
        {
            source.open.queue.queue().ask();
        }
        if let (Some(source), Poll::Ready(frame)) = (&mut self.source, &frame) {
            source.note(frame.as_ref());
            if source.is_of_stream() && (is_at_end || source.is_over) {
                source.open.queue.queue().complete();
            }
        }
        frame
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

impl BodySource {
    fn is_of_stream(&self) -> bool {
        matches!(self.open.queue, QueueRef::Stream(_))
    }

    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        if self.awaits_continue {
            self.awaits_continue = false;
            self.open.queue.queue().stop_awaiting_continue();
        }
        match frame {
            Some(Ok(frame)) => self.left = self.left.saturating_sub(length(frame)),
            Some(Err(_)) => {
                self.is_over = true;
                // hyper reads no further, however much is still to come.
                self.open.queue.queue().abandon();
            }
            None => self.is_over = true,
        }
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        let Some(source) = self.source.take() else {
            return;
        };
        match self.incoming.take() {
            Some(incoming) if !source.is_over && !incoming.is_end_stream() => {
                Unread::new(incoming, source).leave();
            }
            _ => {}
        }
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

/// A body of a request, for as long as it is read or drained.
struct OpenBody {
    queue: QueueRef,
    open: Option<InFlightGuard>,
}

#[derive(Clone)]
enum QueueRef {
    Connection(ConnectionState),
    Stream(StreamState),
}

impl QueueRef {
    fn queue(&self) -> &DrainQueue {
        match self {
            Self::Connection(link) => link.drain_queue(),
            Self::Stream(stream) => stream.drain_queue(),
        }
    }
}

impl OpenBody {
    fn new(link: &ConnectionState) -> Self {
        // In a stream's task: hyper has no place for the stream in the request.
        let queue =
            current_stream().map_or_else(|| QueueRef::Connection(link.clone()), QueueRef::Stream);
        queue.queue().add_body();
        Self {
            queue,
            open: Some(link.open()),
        }
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        // In this order, so that `ConnectionState::is_answered` does not miss a response that is over.
        self.open = None;
        let is_of_stream = matches!(self.queue, QueueRef::Stream(_));
        self.queue.queue().remove_body(is_of_stream);
    }
}

/// A body that has been dropped unread.
struct Unread {
    incoming: Incoming,
    open: OpenBody,
    stall_timer: StallTimer,
    stall_timeout: Duration,
    deadline: Instant,
    /// The most that is discarded for the sake of keep-alive, or of a stream's end without a reset.
    max_drained: u64,
    max_pieces: u32,
    discarded: u64,
    pieces: u32,
    was_answered: bool,
}

impl Unread {
    fn new(incoming: Incoming, source: BodySource) -> Self {
        let (max_drained, max_pieces) = match source.open.queue {
            QueueRef::Connection(_) => (source.left.min(MAX_DRAINED), MAX_DRAINED_PIECES),
            QueueRef::Stream(_) => (MAX_DISCARDED, MAX_DISCARDED_PIECES),
        };
        Self {
            incoming,
            open: source.open,
            stall_timer: StallTimer::new(source.stall_timeout),
            stall_timeout: source.stall_timeout,
            deadline: Instant::now() + MAX_DRAIN_TIME,
            max_drained,
            max_pieces,
            discarded: 0,
            pieces: 0,
            was_answered: false,
        }
    }

    /// Gives it to the task that drains it, which may be another one.
    fn leave(self) {
        let queue = self.open.queue.clone();
        queue.queue().push(Box::new(self));
    }

    fn is_given_up(&self, is_answered: bool, is_closing: bool) -> bool {
        if Instant::now() >= self.deadline {
            return true;
        }
        let is_too_long = self.is_too_long();
        match self.open.queue {
            QueueRef::Stream(_) => is_too_long,
            QueueRef::Connection(_) => {
                // A client may send its body before it reads a long response.
                let is_far_too_long =
                    self.discarded > MAX_DISCARDED || self.pieces > MAX_DISCARDED_PIECES;
                (is_closing || is_too_long) && (is_answered || is_far_too_long)
            }
        }
    }
}

impl UnreadBody for Unread {
    fn poll(&mut self, is_answered: bool, is_closing: bool, cx: &mut Context<'_>) -> Poll<Drained> {
        if is_answered && !self.was_answered {
            self.was_answered = true;
            if let QueueRef::Stream(_) = self.open.queue {
                // Everything else of the stream has ended.
                let limit = self.stall_timeout.min(MAX_SILENCE);
                self.stall_timer = StallTimer::new(limit);
            }
        }
        for _ in 0..PIECES_A_TURN {
            if self.is_given_up(is_answered, is_closing) {
                return Poll::Ready(Drained::Abandoned);
            }
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.stall_timer.disarm();
                    self.discarded = self.discarded.saturating_add(length(&frame));
                    self.pieces = self.pieces.saturating_add(1);
                }
                Poll::Ready(None) => return Poll::Ready(Drained::Whole),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Drained::Abandoned),
                Poll::Pending => {
                    return self
                        .stall_timer
                        .poll_expired(cx)
                        .map(|()| Drained::Abandoned);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_too_long(&self) -> bool {
        let announced = self.incoming.size_hint().lower();
        self.discarded.saturating_add(announced) > self.max_drained || self.pieces > self.max_pieces
    }

    fn announces_length(&self) -> bool {
        self.incoming.size_hint().exact().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::held::within_stream_sync;
    use crate::response::EndDelay;
    use crate::test_bodies::{self, Wakes};

    const EXPECTS: &str =
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";

    fn ask(body: &mut ClientBody) {
        let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }

    #[tokio::test]
    async fn a_client_that_was_sent_100_continue_keeps_its_connection() {
        for (asks, reads_again, closes) in [
            (false, true, true),
            // The head of the response may be written before hyper has sent `100 Continue`.
            (true, false, true),
            (true, true, false),
        ] {
            let link = ConnectionState::default();
            let (mut body, _client) = test_bodies::http1(EXPECTS, &link).await;
            let queue = link.drain_queue();
            queue.begin_turn();
            if asks {
                ask(&mut body);
            }
            if reads_again {
                queue.begin_turn();
            }
            assert_eq!(
                queue.close_after_response(false),
                closes,
                "{asks}, {reads_again}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_at_its_end_lets_its_stream_end() {
        let stream = test_bodies::stream();
        let link = ConnectionState::default();
        let open = within_stream_sync(&stream, || OpenBody::new(&link));
        let mut delay = EndDelay::new(&stream).unwrap();
        let wakes = Wakes::default();
        let waker = wakes.waker();
        let mut poll = || delay.poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        assert_eq!(wakes.count(), 0);
        drop(open);
        assert_eq!(wakes.count(), 1);
        assert!(poll().is_ready());
    }

    #[tokio::test]
    async fn a_long_body_that_ends_before_its_response_does_not_close_the_connection() {
        let link = ConnectionState::default();
        let long = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1500000\r\n\r\n";
        let (body, mut client) = test_bodies::http1(long, &link).await;
        drop(body);
        let sending = client.write_all(&[b'x'; 1_500_000]);
        let draining = poll_fn(|cx| link.drain_queue().poll_drain(|| false, cx));
        let (sent, ()) = tokio::join!(sending, draining);
        sent.unwrap();
        let short = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";
        let (_body, _client) = test_bodies::http1(short, &link).await;
        assert!(!link.drain_queue().close_after_response(false));
    }

    #[tokio::test]
    async fn a_long_body_that_does_not_end_closes_the_connection_after_the_response() {
        let link = ConnectionState::default();
        let long = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1500000\r\n\r\n";
        let (body, _client) = test_bodies::http1(long, &link).await;
        drop(body);
        let queue = link.drain_queue();
        let poll = |is_answered| {
            let cx = &mut Context::from_waker(Waker::noop());
            queue.poll_drain(|| is_answered, cx)
        };
        assert!(poll(false).is_pending());
        assert!(queue.close_after_response(false));
        assert!(poll(true).is_ready());
        assert!(queue.is_abandoned());
    }
}

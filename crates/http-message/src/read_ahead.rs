//! Whether a body of unknown length is there as a whole before its head is sent.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Method;
use tokio::time::{Sleep, sleep};

use crate::{SentBody, SentBodyError};

/// Bytes of a body that are read before its head is sent; the piece that makes them as many is the last.
pub const READ_AHEAD: u64 = 64 * 1024;

/// How often others get a turn before a body that has not ended is taken for one that pauses. A writer on
/// the same thread gets as many.
const TURNS: u32 = 16;
/// How long the first byte is waited for after that: a writer on another thread needs time, and not turns.
const GRACE: Duration = Duration::from_millis(2);
/// The same for methods that usually have no body.
const LONG_GRACE: Duration = Duration::from_secs(1);

/// Reads a body of unknown length ahead, to find out whether it is a short one that is written without a
/// pause, and so can be told with its length. It ends in any case, since the writer may wait for the
/// response before it goes on.
#[derive(Debug)]
pub struct ReadAhead {
    turns: u32,
    /// Before the first byte.
    grace: Duration,
    /// After it.
    pause: Duration,
    /// Armed with one of the two.
    timer: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl ReadAhead {
    /// For the body of a request with this method. A pause after the first byte is waited for as long as
    /// `pause`; there is something to be sent then.
    pub fn new(method: &Method, pause: Duration) -> Self {
        const WITHOUT_BODY: [Method; 5] = [
            Method::GET,
            Method::HEAD,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ];
        let is_body_unusual = WITHOUT_BODY.contains(method);
        Self {
            turns: TURNS,
            grace: if is_body_unusual { LONG_GRACE } else { GRACE },
            pause,
            timer: None,
        }
    }

    /// Ready once the body has ended, [`READ_AHEAD`] bytes of it are there, or it pauses. Needs a tokio runtime with
    /// time.
    ///
    /// # Errors
    ///
    /// When the body fails.
    pub fn poll(
        &mut self,
        body: &mut SentBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SentBodyError>> {
        if let Poll::Ready(read) = body.poll_ahead(cx) {
            return Poll::Ready(read);
        }
        if let Some(turns) = self.turns.checked_sub(1) {
            self.turns = turns;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let limit = if body.has_begun() {
            self.pause
        } else {
            self.grace
        };
        if limit.is_zero() {
            return Poll::Ready(Ok(()));
        }
        if self.timer.as_ref().is_none_or(|(armed, _)| *armed != limit) {
            self.timer = Some((limit, Box::pin(sleep(limit))));
        }
        if let Some((_, timer)) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}

//! Reads a body of unknown length ahead, since it may be a short one that can be sent with its length.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Method;
use tokio::time::{Sleep, sleep};

use crate::{SentBody, SentBodyError};

/// How often other tasks run before a body that has not ended is considered to pause. A writer on the same thread runs
/// as often.
const TURNS: u32 = 16;
/// How long the first byte is waited for after that: a writer on another thread needs time, not turns.
const GRACE: Duration = Duration::from_millis(2);
/// The same for methods that usually have no body.
const LONG_GRACE: Duration = Duration::from_secs(1);

/// Reads a body of unknown length ahead, to find out whether it is a short one that is written without a pause. It is
/// limited in time, since the writer may wait for the response before it writes more.
#[derive(Debug)]
pub struct ReadAhead {
    turns: u32,
    /// Before the first byte.
    grace: Duration,
    /// After it.
    pause: Duration,
    /// Created with one of the two.
    timer: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl ReadAhead {
    /// For the body of a request with this method. After the first byte the body may pause for `pause`.
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

    /// Ready when the body has ended, [`READ_AHEAD`](crate::READ_AHEAD) bytes of it have been read, or it pauses. Needs
    /// a tokio runtime with time.
    ///
    /// # Errors
    ///
    /// If the body fails.
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

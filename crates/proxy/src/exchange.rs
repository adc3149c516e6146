//! The request's body while its response is awaited and read: which of the two ends the other, and when.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::{Body as _, Frame, SizeHint};
use http_message::{CutOff, Length, ReadAhead, SentBody};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{ProxyError, fields};

/// Bytes of a request's body that are still sent after its response.
pub(crate) const MAX_BYTES_AFTER_RESPONSE: u64 = 64 * 1024 * 1024;

/// The state that a request and its response share. The request's body is here and not in a connection, so that it can
/// be sent on another connection as long as nothing of it has been read.
#[derive(Debug)]
pub(crate) struct Exchange {
    state: Mutex<Upload>,
    is_sent: AtomicBool,
    sent: Notify,
}

#[derive(Debug)]
struct Upload {
    body: SentBody,
    /// Why the request's body was cut off, until the error is returned.
    failure: Option<ProxyError>,
    is_cancelled: bool,
    /// Limits on the rest of the request's body, once the response is over.
    after_response: Option<AfterResponse>,
    /// `expect: 100-continue`: the body waits for the server to ask for it.
    is_held: bool,
    /// Of the connection's task, which waits for the request's body.
    waker: Option<Waker>,
}

/// Limits on an upload after its response: only the server still waits for it, and the client may never end it.
#[derive(Debug)]
struct AfterResponse {
    until: Instant,
    /// Created when the connection polls the body.
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that may still be sent.
    left: u64,
}

impl AfterResponse {
    fn new(limit: Duration) -> Self {
        Self {
            until: Instant::now() + limit,
            timer: None,
            left: MAX_BYTES_AFTER_RESPONSE,
        }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let until = self.until;
        let timer = (self.timer).get_or_insert_with(|| Box::pin(sleep_until(until)));
        self.left == 0 || timer.as_mut().poll(cx).is_ready()
    }
}

impl Exchange {
    pub(crate) fn new(body: SentBody) -> Arc<Self> {
        Arc::new(Self {
            is_sent: AtomicBool::new(body.is_end_stream()),
            state: Mutex::new(Upload {
                body,
                failure: None,
                is_cancelled: false,
                after_response: None,
                is_held: false,
                waker: None,
            }),
            sent: Notify::new(),
        })
    }

    /// The next piece of the request's body.
    pub(crate) fn poll_body(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let mut guard = self.state();
        let state = &mut *guard;
        match &mut state.waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        let after_response = &mut state.after_response;
        if state.is_cancelled || after_response.as_mut().is_some_and(|it| it.is_over(cx)) {
            state.body.discard();
            return Poll::Ready(Some(Err(CutOff)));
        }
        if state.is_held {
            return Poll::Pending;
        }
        match Pin::new(&mut state.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                state.failure = Some(error.into());
                Poll::Ready(Some(Err(CutOff)))
            }
            Poll::Ready(frame) => {
                if state.body.is_sent() {
                    self.note_sent();
                }
                let frame = frame.and_then(Result::ok).map(fields::prepare_trailers);
                if let (Some(limits), Some(frame)) = (&mut state.after_response, &frame) {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    limits.left = limits.left.saturating_sub(length);
                }
                Poll::Ready(frame.map(Ok))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads the body ahead, until its length can be decided.
    ///
    /// # Errors
    ///
    /// When the body fails. Nothing of it has been sent then.
    pub(crate) async fn read_ahead(&self, method: &Method) -> Result<(), ProxyError> {
        // What a client has sent is forwarded without delay.
        let mut ahead = ReadAhead::new(method, Duration::ZERO);
        poll_fn(|cx| ahead.poll(&mut self.state().body, cx)).await?;
        Ok(())
    }

    /// Continues to read ahead while `other` is waited for.
    ///
    /// # Errors
    ///
    /// When the body fails. Nothing of it has been sent then.
    pub(crate) async fn read_ahead_while<T>(
        &self,
        other: impl Future<Output = Result<T, ProxyError>>,
    ) -> Result<T, ProxyError> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            let done = other.as_mut().poll(cx);
            if done.is_pending()
                && let Poll::Ready(Err(error)) = self.state().body.poll_ahead(cx)
            {
                return Poll::Ready(Err(error.into()));
            }
            done
        })
        .await
    }

    /// Decides the length of a body without an announced one, by what was read ahead. Called again before a second
    /// attempt, when a length that was unknown may be known.
    pub(crate) fn decide(&self, method: &Method, keeps_trailers: bool) -> Length {
        let mut state = self.state();
        let length = state.body.decide(method, keeps_trailers);
        if state.body.is_end_stream() {
            self.note_sent();
        }
        length
    }

    fn note_sent(&self) {
        self.is_sent.store(true, Ordering::Release);
        self.sent.notify_one();
    }

    /// Whether all of the request's body was taken.
    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Acquire)
    }

    /// Waits until all of the request's body was taken. For one caller at a time.
    pub(crate) async fn sent(&self) {
        while !self.is_sent() {
            self.sent.notified().await;
        }
    }

    /// Whether nothing of the request's body has been sent, so that it can be sent again.
    pub(crate) fn is_whole(&self) -> bool {
        self.state().body.given() == 0
    }

    /// What is left of the body, by which its framing is decided.
    pub(crate) fn left(&self) -> (bool, SizeHint) {
        let state = self.state();
        (state.body.is_end_stream(), state.body.size_hint())
    }

    /// Nothing is sent of the body until [`Exchange::release`].
    pub(crate) fn hold(&self) {
        self.state().is_held = true;
    }

    pub(crate) fn release(&self) {
        self.wake(|state| state.is_held = false);
    }

    /// The failure of the request's body, if there is one: it is the cause of what the connection reports as `error`.
    pub(crate) fn explain(&self, error: ProxyError) -> ProxyError {
        self.state().failure.take().unwrap_or(error)
    }

    /// The response was dropped: the request's body is cut off.
    pub(crate) fn cancel(&self) {
        self.wake(|state| state.is_cancelled = true);
    }

    /// The response is over. A body that still waits for `100 Continue` is cut off; the rest of another may be sent for
    /// `limit`.
    pub(crate) fn finish(&self, limit: Duration) {
        let is_sent = self.is_sent();
        self.wake(|state| {
            state.is_cancelled |= state.is_held;
            state.after_response = (!is_sent).then(|| AfterResponse::new(limit));
        });
    }

    fn wake(&self, change: impl FnOnce(&mut Upload)) {
        let waker = {
            let mut state = self.state();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, Upload> {
        self.state.lock()
    }
}

/// Ends the request's body when the response is dropped before its end.
#[derive(Debug)]
pub(crate) struct UploadGuard {
    exchange: Arc<Exchange>,
    is_complete: bool,
    /// For what is left of the request's body after the response.
    after_response: Duration,
}

impl UploadGuard {
    pub(crate) fn new(exchange: Arc<Exchange>, after_response: Duration) -> Self {
        Self {
            exchange,
            is_complete: false,
            after_response,
        }
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The response was complete. The rest of the request's body may still be sent, within limits.
    pub(crate) fn complete(&mut self) {
        if !self.is_complete {
            self.is_complete = true;
            self.exchange.finish(self.after_response);
        }
    }
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        if !self.is_complete {
            self.exchange.cancel();
        }
    }
}

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use message::{CutOff, SentBody};
use tokio::sync::Notify;

use crate::{ProxyError, fields};

/// What the two messages of one request know of each other. The request's body stays here and not
/// with a connection, so that it can go to another one while nothing of it has been read.
#[derive(Debug)]
pub(crate) struct Exchange {
    state: Mutex<State>,
    is_sent: AtomicBool,
    sent: Notify,
}

#[derive(Debug)]
struct State {
    body: SentBody,
    /// Why the request's body was cut off, until somebody is told.
    failure: Option<ProxyError>,
    is_cancelled: bool,
    /// The server is first to say that it wants the body.
    is_held: bool,
    /// Whoever waits for the request's body.
    waker: Option<Waker>,
}

impl Exchange {
    pub(crate) fn new(body: SentBody) -> Arc<Self> {
        Arc::new(Self {
            is_sent: AtomicBool::new(body.is_end_stream()),
            state: Mutex::new(State {
                body,
                failure: None,
                is_cancelled: false,
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
        let mut state = self.state();
        match &mut state.waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if state.is_cancelled {
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
                if state.body.is_end_stream() {
                    self.is_sent.store(true, Ordering::Release);
                    self.sent.notify_one();
                }
                let frame = frame.and_then(Result::ok).map(fields::prepare_trailers);
                Poll::Ready(frame.map(Ok))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether all of the request's body was taken.
    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Acquire)
    }

    /// Waits for that. For one caller at a time.
    pub(crate) async fn sent(&self) {
        while !self.is_sent() {
            self.sent.notified().await;
        }
    }

    /// Whether all of the request's body is still to be read, if there is any.
    pub(crate) fn is_whole(&self) -> bool {
        self.state().body.reads() == 0
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

    /// The request's own failure; without one, what it looked like from the other side.
    pub(crate) fn explain(&self, error: ProxyError) -> ProxyError {
        self.state().failure.take().unwrap_or(error)
    }

    /// Nobody wants the response any more.
    pub(crate) fn cancel(&self) {
        self.wake(|state| state.is_cancelled = true);
    }

    /// The response is over. A body that waits for leave to be sent waits for nothing then.
    pub(crate) fn finish(&self) {
        self.wake(|state| state.is_cancelled |= state.is_held);
    }

    fn wake(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the request's body, too, when the response is dropped before its end.
#[derive(Debug)]
pub(crate) struct Interest {
    exchange: Arc<Exchange>,
    is_satisfied: bool,
}

impl Interest {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            is_satisfied: false,
        }
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The response was whole. What is left of the request's body may still be sent.
    pub(crate) fn satisfy(&mut self) {
        if !self.is_satisfied {
            self.is_satisfied = true;
            self.exchange.finish();
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        if !self.is_satisfied {
            self.exchange.cancel();
        }
    }
}

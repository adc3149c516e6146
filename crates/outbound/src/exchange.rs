//! What the request's body and the response of one exchange share: progress, failure, cancellation.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::Error;

/// The state that the two bodies of one request share. The request counts as in progress until both are dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    state: Mutex<Upload>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Upload {
    /// When a piece of the request's body was last taken.
    last_progress: Instant,
    /// Why the request's body was cut off, until the error is returned.
    failure: Option<Error>,
    is_cancelled: bool,
    /// Of the connection's task, which waits for the request's body.
    waker: Option<Waker>,
}

impl Exchange {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Upload {
                last_progress: Instant::now(),
                failure: None,
                is_cancelled: false,
                waker: None,
            }),
            _permit: permit,
        })
    }

    pub(crate) fn record_progress(&self) {
        self.state.lock().last_progress = Instant::now();
    }

    pub(crate) fn last_progress(&self) -> Instant {
        self.state.lock().last_progress
    }

    pub(crate) fn fail(&self, error: Error) {
        self.state.lock().failure = Some(error);
    }

    /// The failure of the request's body, if there is one: it is the cause of what the connection reports as `error`.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.state.lock().failure.take().unwrap_or(error)
    }

    /// Whether the response was dropped. If not, `waker` is woken when it is.
    pub(crate) fn is_cancelled(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        state.is_cancelled
    }

    fn cancel(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.is_cancelled = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Ends the request's body when the response is dropped before its end.
#[derive(Debug)]
pub(crate) struct UploadGuard {
    exchange: Arc<Exchange>,
    is_complete: bool,
}

impl UploadGuard {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            is_complete: false,
        }
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The response was complete. The rest of the request's body may still be sent.
    pub(crate) fn complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        if !self.is_complete {
            self.exchange.cancel();
        }
    }
}

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::Error;

/// What the two bodies of one request know of each other. It lives until both are gone, and so long
/// the request counts as in progress.
#[derive(Debug)]
pub(crate) struct Exchange {
    state: Mutex<State>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    /// When a piece of the request's body was last taken.
    moved: Instant,
    /// Why the request's body was cut off, until somebody is told.
    failure: Option<Error>,
    cancelled: bool,
    /// Whoever waits for the request's body.
    waker: Option<Waker>,
}

impl Exchange {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                moved: Instant::now(),
                failure: None,
                cancelled: false,
                waker: None,
            }),
            _permit: permit,
        })
    }

    pub(crate) fn moves(&self) {
        self.state().moved = Instant::now();
    }

    pub(crate) fn moved(&self) -> Instant {
        self.state().moved
    }

    pub(crate) fn fail(&self, error: Error) {
        self.state().failure = Some(error);
    }

    /// The request's own failure; without one, what it looked like from the other side.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.state().failure.take().unwrap_or(error)
    }

    /// Whether nobody wants the response any more. If somebody does, `waker` is woken when that
    /// changes.
    pub(crate) fn is_cancelled(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        state.cancelled
    }

    fn cancel(&self) {
        let waker = {
            let mut state = self.state();
            state.cancelled = true;
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
    satisfied: bool,
}

impl Interest {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            satisfied: false,
        }
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The response was whole. What is left of the request's body may still be sent.
    pub(crate) fn satisfy(&mut self) {
        self.satisfied = true;
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        if !self.satisfied {
            self.exchange.cancel();
        }
    }
}

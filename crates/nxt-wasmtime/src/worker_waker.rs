//! Wakes one worker of the process, from another one.
//!
//! unitd announces requests only once, to whichever worker reads that message first. A worker that is
//! busy computing therefore wakes an idle one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

/// Wakes one worker.
#[derive(Default)]
pub(crate) struct WorkerWaker {
    /// The worker has nothing to do.
    idle: AtomicBool,
    /// Another worker has asked this one to look for requests.
    requested: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl WorkerWaker {
    /// Whether another worker has asked this one to look for requests since the last call. From here
    /// on the task of `cx` is the one to be woken, and counts as busy.
    pub(crate) fn take_request(&self, cx: &Context<'_>) -> bool {
        self.idle.store(false, Ordering::SeqCst);
        let mut waker = self.waker.lock();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        self.requested.swap(false, Ordering::SeqCst)
    }

    /// Whether the worker has nothing to do from here on.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::SeqCst);
    }

    /// Wakes the worker to look for requests if it is idle; `false` if it is not.
    pub(crate) fn wake_if_idle(&self) -> bool {
        if !self.idle.swap(false, Ordering::SeqCst) {
            return false;
        }
        // Before the wake-up, so that the poll that it causes sees it.
        self.requested.store(true, Ordering::SeqCst);
        self.wake();
        true
    }

    /// Wakes the worker, busy or not.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }
}

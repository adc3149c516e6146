//! How workers wake each other.
//!
//! unitd says only once that there are requests, to whichever worker hears it first. A worker that
//! computes therefore rings for one that sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// What wakes one worker.
#[derive(Default)]
pub(crate) struct Bell {
    /// Its worker has nothing to do.
    asleep: AtomicBool,
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Whether it has been rung since this was last asked. From here on it wakes the task of `cx`.
    pub(crate) fn answer(&self, cx: &Context<'_>) -> bool {
        self.asleep.store(false, Ordering::SeqCst);
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Says whether its worker has nothing to do from here on.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::SeqCst);
    }

    /// Wakes its worker, if that sleeps, to look for requests.
    pub(crate) fn ring(&self) -> bool {
        if !self.asleep.swap(false, Ordering::SeqCst) {
            return false;
        }
        self.rung.store(true, Ordering::SeqCst);
        self.wake();
        true
    }

    /// Wakes its worker, whatever it does.
    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }
}

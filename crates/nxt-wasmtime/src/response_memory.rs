//! What the requests of one worker write their responses to, and which of them wait for room.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Waker;

use crate::shared_memory::SharedMemory;

/// The shared memory of the process, as one worker uses it.
pub(crate) struct ResponseMemory {
    shared: Arc<SharedMemory>,
    waiting: RefCell<Vec<Waker>>,
}

impl ResponseMemory {
    pub(crate) fn new(shared: Arc<SharedMemory>) -> Self {
        Self {
            shared,
            waiting: RefCell::default(),
        }
    }

    pub(crate) fn shared(&self) -> &SharedMemory {
        &self.shared
    }

    /// Wakes the task once there may be free memory.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    pub(crate) fn wake_all(&self) {
        // Taken out first: a task that is woken may wait again.
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::wait::{LEAST_QUEUE, WAIT};

/// Lets so many requests of one application in at a time, and as many again wait for a moment.
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    queue: Semaphore,
}

impl Gate {
    pub(crate) fn new(places: u32) -> Self {
        let count = (places as usize).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(count)),
            queue: Semaphore::new(count.max(LEAST_QUEUE)),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place as soon as one is free; `None` when that takes longer than [`WAIT`] or `limit`, or too
    /// many wait already.
    pub(crate) async fn enter(&self, limit: Duration) -> Option<OwnedSemaphorePermit> {
        if let Some(place) = self.try_enter() {
            return Some(place);
        }
        let _waiting = self.queue.try_acquire().ok()?;
        let turn = Arc::clone(&self.places).acquire_owned();
        tokio::time::timeout(WAIT.min(limit), turn).await.ok()?.ok()
    }
}

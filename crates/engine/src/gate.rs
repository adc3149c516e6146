use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits where all that may be in progress are.
pub(crate) const WAIT: Duration = Duration::from_secs(1);

/// The least number of requests that may wait, so that a small number of places does not refuse at
/// once what a moment's patience would serve.
const LEAST_QUEUE: usize = 16;

/// Lets so many in at a time, and as many again wait for a moment.
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    queue: Semaphore,
    queue_length: usize,
    total: u32,
}

impl Gate {
    pub(crate) fn new(places: u32) -> Self {
        let count = (places as usize).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(count)),
            queue: Semaphore::new(count.max(LEAST_QUEUE)),
            queue_length: count.max(LEAST_QUEUE),
            total: places,
        }
    }

    /// How many are let in.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// How many are in.
    pub(crate) fn taken(&self) -> u32 {
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        self.total.saturating_sub(free)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    /// A place, if one is free.
    pub(crate) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place as soon as one is free; `None` when that takes longer than [`WAIT`] or `limit`, or too
    /// many wait already.
    pub(crate) async fn enter(&self, limit: Duration) -> Option<OwnedSemaphorePermit> {
        self.enter_or(limit, || {}).await
    }

    /// The same. `make_room` is called where there is none, by one who can be seen waiting.
    pub(crate) async fn enter_or(
        &self,
        limit: Duration,
        make_room: impl FnOnce(),
    ) -> Option<OwnedSemaphorePermit> {
        if let Some(place) = self.try_enter() {
            return Some(place);
        }
        let _waiting = self.queue.try_acquire().ok()?;
        make_room();
        let turn = Arc::clone(&self.places).acquire_owned();
        tokio::time::timeout(WAIT.min(limit), turn).await.ok()?.ok()
    }

    /// Whether anyone waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.queue.available_permits() < self.queue_length
    }

    /// Waits until all are out. Whoever comes meanwhile waits, too.
    pub(crate) async fn empty(&self) {
        // The semaphore is never closed, so that both outcomes mean the same.
        drop(self.places.acquire_many(self.total).await);
    }
}

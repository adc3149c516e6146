//! `limits.concurrency`: how many requests of one application are in progress at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::wait::{LEAST_QUEUE, WAIT};

/// Admits so many requests at a time. As many again, and at least [`LEAST_QUEUE`], may wait.
pub(crate) struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    queue: Semaphore,
}

impl ConcurrencyLimit {
    pub(crate) fn new(limit: u32) -> Self {
        let limit = (limit as usize).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            queue: Semaphore::new(limit.max(LEAST_QUEUE)),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.permits.available_permits() > 0
    }

    fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// A permit as soon as one is free, first come, first served. `None` when that takes longer than [`WAIT`] or
    /// `timeout`, or the queue is full.
    pub(crate) async fn acquire(&self, timeout: Duration) -> Option<OwnedSemaphorePermit> {
        if let Some(permit) = self.try_acquire() {
            return Some(permit);
        }
        let _queued = self.queue.try_acquire().ok()?;
        let permit = Arc::clone(&self.permits).acquire_owned();
        tokio::time::timeout(WAIT.min(timeout), permit)
            .await
            .ok()?
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_request_at_the_concurrency_limit_waits_for_a_second_and_is_refused() {
        let limit = ConcurrencyLimit::new(1);
        let held = limit.acquire(LONG).await;
        assert!(held.is_some() && !limit.has_room());
        let start = Instant::now();
        assert!(limit.acquire(LONG).await.is_none());
        assert_eq!(start.elapsed().as_secs(), WAIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_at_the_concurrency_limit_waits_no_longer_than_its_own_timeout() {
        let limit = ConcurrencyLimit::new(1);
        let _held = limit.acquire(LONG).await;
        let start = Instant::now();
        assert!(limit.acquire(WAIT / 10).await.is_none());
        assert!(start.elapsed() < WAIT / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_the_concurrency_limit_are_admitted_in_their_order() {
        let limit = ConcurrencyLimit::new(1);
        let held = limit.acquire(LONG).await;
        let mut first = pin!(limit.acquire(LONG));
        let mut second = pin!(limit.acquire(LONG));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(held);
        assert!(second.as_mut().now_or_never().is_none());
        let first = first.now_or_never().flatten();
        assert!(first.is_some());
        drop(first);
        assert!(second.now_or_never().flatten().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_at_the_concurrency_limit_refuses_at_once() {
        for (limit, queue) in [(1, LEAST_QUEUE), (40, 40)] {
            let limit = ConcurrencyLimit::new(limit);
            let held: Vec<_> = std::iter::from_fn(|| limit.try_acquire()).collect();
            let mut queued: Vec<_> = (0..queue).map(|_| Box::pin(limit.acquire(LONG))).collect();
            for request in &mut queued {
                assert!(request.as_mut().now_or_never().is_none());
            }
            assert_eq!(
                limit.acquire(LONG).now_or_never().map(|it| it.is_none()),
                Some(true)
            );
            // A request that gives up leaves its place in the queue.
            queued.pop();
            assert!(limit.acquire(LONG).now_or_never().is_none());
            drop(held);
        }
    }
}

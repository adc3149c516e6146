//! A limit on how long one side may make no progress. What is timed, and what a stall leads to, is the caller's.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// A limit on each wait for progress. It runs from the first poll without progress until there is some, and
/// allocates a timer only then: a side that keeps up costs nothing.
#[derive(Debug)]
pub struct StallTimer {
    limit: Duration,
    /// Set while there is no progress.
    armed: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    /// A timer that is not armed. `limit` holds for each wait, not for their sum.
    pub fn new(limit: Duration) -> Self {
        Self { limit, armed: None }
    }

    /// There was progress. Returns whether the timer was armed.
    pub fn disarm(&mut self) -> bool {
        self.armed.take().is_some()
    }

    /// There is no progress: arms the timer, unless it is armed already. Ready once that has lasted for the limit.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let armed = self.armed.get_or_insert_with(|| Box::pin(sleep(limit)));
        armed.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stall_timer_starts_again_after_progress() {
        const LIMIT: Duration = Duration::from_secs(1);
        let mut timer = StallTimer::new(LIMIT);
        assert!(!timer.disarm());
        let start = Instant::now();
        for _ in 0..3 {
            let is_armed = poll_fn(|cx| Poll::Ready(timer.poll_expired(cx).is_pending()));
            assert!(is_armed.await);
            advance(LIMIT - Duration::from_millis(1)).await;
            assert!(timer.disarm());
        }
        let last = Instant::now();
        assert!(last - start > LIMIT);
        poll_fn(|cx| timer.poll_expired(cx)).await;
        assert!(last.elapsed() >= LIMIT);
    }
}

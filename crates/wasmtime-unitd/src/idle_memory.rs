//! Gives memory back to the system that a worker needed when it was busy, once it is not.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

/// How often a worker looks at what it has done since.
const INTERVAL: Duration = Duration::from_secs(5);

/// A worker that was busy for less than this share of an interval is idle.
const IDLE_SHARE: u32 = 10;

/// A worker that was busy for less than this since it last gave memory back has none to give.
const LEAST_WORK: Duration = Duration::from_millis(20);

/// For so many intervals after a worker has been busy: others may still free what is on its heap.
const ROUNDS: u32 = 6;

/// Gives back what the heap of this thread keeps, whenever the thread becomes idle. To be spawned on a
/// runtime of one thread.
pub(crate) async fn give_back() {
    let metrics = Handle::current().metrics();
    let busy = || metrics.worker_total_busy_duration(0);
    let (mut before, mut given_back_at) = (busy(), Duration::ZERO);
    let mut rounds = 0;
    loop {
        sleep(INTERVAL).await;
        let now = busy();
        let is_idle = now.saturating_sub(before) < INTERVAL / IDLE_SHARE;
        if now.saturating_sub(given_back_at) >= LEAST_WORK {
            rounds = ROUNDS;
        }
        if is_idle && rounds > 0 {
            rounds -= 1;
            allocator::give_back();
            given_back_at = busy();
        }
        before = now;
    }
}

//! Waiting for a condition, with a limit.

use std::future::Future;
use std::time::Duration;

/// The deadline of every wait, far longer than any should take.
pub const LONG: Duration = Duration::from_secs(20);
/// A timeout that tests set and let expire.
pub const SHORT: Duration = Duration::from_millis(200);

/// The result of `future`, which must be ready within [`LONG`].
///
/// # Panics
///
/// When it does not end.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap()
}

/// Waits until something is so.
///
/// # Panics
///
/// When it never is.
pub async fn until(mut so: impl FnMut() -> bool) {
    within(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

//! Waits with deadlines.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// For operations that take milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// For operations that take seconds: compiling a component, transferring a gibibyte.
pub const LONG: Duration = Duration::from_secs(120);

/// Waits until `condition` holds.
///
/// # Panics
///
/// When it does not within [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    within(DEADLINE, what, || condition().then_some(()));
}

/// Waits until `find` returns a value.
///
/// # Panics
///
/// When it does not within `limit`.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(5));
    }
}

//! How long requests wait for a place, and how many of them: for one within `limits.concurrency`, and for an
//! instance.

use std::time::Duration;

/// How long a request waits where all that may be in progress are, for each of the two.
pub(crate) const WAIT: Duration = Duration::from_secs(1);

/// The least number of requests that may wait, so that a small number of places does not refuse at once
/// what a moment's patience would serve.
pub(crate) const LEAST_QUEUE: usize = 16;

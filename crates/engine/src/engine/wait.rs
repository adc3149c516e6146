//! How long, and in what number, requests wait: for the concurrency limit of their application, and for an
//! instance.

use std::time::Duration;

/// How long a request waits at most, at each of the two.
pub(crate) const WAIT: Duration = Duration::from_secs(1);

/// The shortest queue: with a small limit, a burst that a moment's wait would serve is not refused at once.
pub(crate) const LEAST_QUEUE: usize = 16;

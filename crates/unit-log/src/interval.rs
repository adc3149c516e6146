//! Warnings that are logged at most once per interval, so that clients cannot fill the log with them.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Limits one kind of warning to one per interval. The first passes immediately.
#[derive(Debug)]
pub struct LogInterval {
    interval: Duration,
    logged: Mutex<Option<Instant>>,
}

impl LogInterval {
    /// `interval` is the shortest time between two lines.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            logged: parking_lot::const_mutex(None),
        }
    }

    /// Whether the caller should log the line now. Of several threads that ask at the same time, one gets `true`.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut logged = self.logged.lock();
        let is_due = logged.is_none_or(|at| now.saturating_duration_since(at) >= self.interval);
        if is_due {
            *logged = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_at_once_and_again_after_the_interval() {
        let interval = LogInterval::new(Duration::from_secs(10));
        let begun = Instant::now();
        let at = |second| interval.is_due_at(begun + Duration::from_secs(second));
        assert_eq!(
            [0, 0, 9, 10, 11, 19, 20].map(at),
            [true, false, false, true, false, false, true]
        );
    }
}

//! Warnings that are logged at most once per interval, so that clients cannot fill the log with them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says when a line may be logged again. The first may be at once.
#[derive(Debug)]
pub struct LogInterval {
    interval: Duration,
    logged: Mutex<Option<Instant>>,
}

impl LogInterval {
    /// At least `interval` between two lines.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            logged: Mutex::new(None),
        }
    }

    /// Whether the caller is to log a line now. Of several threads that ask at the same time one is.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
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

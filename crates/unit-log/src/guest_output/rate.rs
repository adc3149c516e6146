//! How much the guests of one application may print.

use std::time::{Duration, Instant};

use crate::bucket::TokenBucket;

/// What an application may print for as long as it likes, in bytes per second: little enough for any
/// disk to keep up with, and a few percent of a core. It is still 84 GiB a day, which is for the
/// rotation of files to bound.
pub(super) const BYTES_PER_SECOND: u32 = 1024 * 1024;

/// What each line costs beside its bytes, empty ones too: about what the log puts before it, and
/// the work of a write. At most 4,096 lines pass in a second.
const LINE: u32 = 256;

/// An application that has been silent for so long may print what that would have been at once:
/// traces and dumps come in bursts.
const BURST: Duration = Duration::from_secs(2);

/// The rate of one application's guests.
#[derive(Debug, Default)]
pub(super) struct Rate(TokenBucket);

impl Rate {
    /// Whether a line of so many bytes may be printed now; if so, it counts.
    pub(super) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        self.0.admits(now, cost(bytes), BURST)
    }
}

fn cost(bytes: usize) -> Duration {
    // Nobody has a line of 4 GiB: it comes here in pieces.
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Duration::from_secs(1) * bytes.saturating_add(LINE) / BYTES_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(rate: &mut Rate, now: Instant, bytes: usize) -> u32 {
        let mut lines = 0;
        while rate.admits(now, bytes) {
            lines += 1;
        }
        lines
    }

    #[test]
    fn a_burst_passes_and_then_an_even_rate() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let line = (LINE * 3) as usize;
        assert_eq!(admitted(&mut rate, start, line), 2 * 1024);
        for second in 1..4 {
            let now = start + Duration::from_secs(second);
            assert_eq!(admitted(&mut rate, now, line), 1024);
        }
    }

    #[test]
    fn silence_saves_no_more_than_a_burst() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert!(rate.admits(start, 1));
        let later = start + Duration::from_secs(3600);
        assert_eq!(admitted(&mut rate, later, 0), 2 * BYTES_PER_SECOND / LINE);
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert!(!rate.admits(start, usize::MAX));
        assert!(rate.admits(start, 1024 * 1024));
        assert!(!rate.admits(start, 1024 * 1024));
        assert!(rate.admits(start, 8 * 1024));
    }
}

//! The rate limit for what the guests of one application print.

use std::time::{Duration, Instant};

use crate::bucket::TokenBucket;

/// The sustained rate of one application: any disk can keep up with it, and it costs a few percent of a core.
/// It is still 84 GiB per day, which only the rotation of files bounds.
pub(super) const BYTES_PER_SECOND: u32 = 1024 * 1024;

/// Bytes that each line counts for in addition to its own: about the prefix of a log line and the work of a
/// write. So at most 4,096 lines pass per second, empty ones included.
const LINE: u32 = 256;

/// An application that has not printed for this long may print as much at once as the rate allows in that time:
/// traces and dumps come in bursts.
const BURST: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct OutputRate(TokenBucket);

impl OutputRate {
    /// Whether a line of `bytes` bytes may be printed now. If so, it is charged.
    pub(super) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        self.0.admits(now, cost(bytes), BURST)
    }
}

fn cost(bytes: usize) -> Duration {
    // Lines come in pieces of at most 8 KiB, so that the limit of `u32` is never reached.
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Duration::from_secs(1) * bytes.saturating_add(LINE) / BYTES_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(rate: &mut OutputRate, now: Instant, bytes: usize) -> u32 {
        let mut lines = 0;
        while rate.admits(now, bytes) {
            lines += 1;
        }
        lines
    }

    #[test]
    fn a_burst_passes_and_then_an_even_rate() {
        let (mut rate, start) = (OutputRate::default(), Instant::now());
        let line = (LINE * 3) as usize;
        assert_eq!(admitted(&mut rate, start, line), 2 * 1024);
        for second in 1..4 {
            let now = start + Duration::from_secs(second);
            assert_eq!(admitted(&mut rate, now, line), 1024);
        }
    }

    #[test]
    fn a_pause_saves_no_more_than_a_burst() {
        let (mut rate, start) = (OutputRate::default(), Instant::now());
        assert!(rate.admits(start, 1));
        let later = start + Duration::from_secs(3600);
        assert_eq!(admitted(&mut rate, later, 0), 2 * BYTES_PER_SECOND / LINE);
    }

    #[test]
    fn a_line_over_the_rate_limit_is_not_charged() {
        let (mut rate, start) = (OutputRate::default(), Instant::now());
        assert!(!rate.admits(start, usize::MAX));
        assert!(rate.admits(start, 1024 * 1024));
        assert!(!rate.admits(start, 1024 * 1024));
        assert!(rate.admits(start, 8 * 1024));
    }
}

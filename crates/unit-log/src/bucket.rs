//! A rate limit that allows bursts, as arithmetic over instants. Reads no clock.

use std::time::{Duration, Instant};

/// A token bucket, stored as the time at which everything admitted so far would be done at the sustained rate.
/// A new one admits a whole burst.
#[derive(Clone, Debug, Default)]
pub struct TokenBucket {
    paid_until: Option<Instant>,
}

impl TokenBucket {
    /// Charges `cost`, the time that an item takes at the sustained rate, and returns whether it may pass now. Items
    /// worth at most `burst` pass at once. One that may not pass is not charged.
    pub fn admits(&mut self, now: Instant, cost: Duration, burst: Duration) -> bool {
        let from = self.paid_until.map_or(now, |until| until.max(now));
        let until = from + cost;
        let admits = until <= now + burst;
        if admits {
            self.paid_until = Some(until);
        }
        admits
    }

    /// Whether a whole burst may pass now. If so, a new bucket is equivalent.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.paid_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Duration = Duration::from_millis(50);
    const BURST: Duration = Duration::from_secs(10);

    fn admitted(bucket: &mut TokenBucket, now: Instant) -> usize {
        (0..1000)
            .filter(|_| bucket.admits(now, COST, BURST))
            .count()
    }

    #[test]
    fn a_burst_passes_and_then_an_even_rate() {
        let (mut bucket, start) = (TokenBucket::default(), Instant::now());
        assert_eq!(admitted(&mut bucket, start), 200);
        for second in 1..4 {
            let now = start + Duration::from_secs(second);
            assert!(!bucket.is_full(now));
            assert_eq!(admitted(&mut bucket, now), 20);
        }
    }

    #[test]
    fn a_pause_saves_no_more_than_a_burst() {
        let (mut bucket, start) = (TokenBucket::default(), Instant::now());
        assert!(bucket.admits(start, COST, BURST));
        let later = start + Duration::from_secs(3600);
        assert!(bucket.is_full(later));
        assert_eq!(admitted(&mut bucket, later), 200);
    }

    #[test]
    fn a_refusal_is_not_charged() {
        let (mut bucket, now) = (TokenBucket::default(), Instant::now());
        assert!(!bucket.admits(now, BURST + COST, BURST));
        assert!(bucket.admits(now, BURST, BURST));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_does_no_harm() {
        let (mut bucket, start) = (TokenBucket::default(), Instant::now());
        let later = start + Duration::from_secs(5);
        admitted(&mut bucket, later);
        assert!(!bucket.admits(start, COST, BURST));
        assert!(bucket.admits(later + Duration::from_secs(1), COST, BURST));
    }
}

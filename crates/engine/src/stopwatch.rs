use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// A turn that took this long may have been interrupted by others, so that the next is measured by
/// the processor's time.
const SHORT: Duration = Duration::from_micros(500);

/// How long a guest has computed, over all its turns.
///
/// What counts is the processor's time, of which other threads take nothing away; but asking for
/// it is a system call, and most guests have one short turn. So a turn is measured by the wall's
/// clock, and by the thread's only after a long one.
#[derive(Default)]
pub(crate) struct Stopwatch {
    computed: Duration,
    is_long: bool,
}

/// A turn that has begun, on this thread.
pub(crate) enum Turn {
    Wall(Instant),
    Processor(Duration),
}

impl Stopwatch {
    pub(crate) fn begin(&self) -> Turn {
        let processor = self.is_long.then(processor_time).flatten();
        processor.map_or_else(|| Turn::Wall(Instant::now()), Turn::Processor)
    }

    /// How long the turn took.
    pub(crate) fn end(&mut self, turn: &Turn) -> Duration {
        let took = match turn {
            Turn::Wall(start) => start.elapsed(),
            Turn::Processor(start) => processor_time().unwrap_or(*start).saturating_sub(*start),
        };
        self.is_long = took >= SHORT;
        self.computed = self.computed.saturating_add(took);
        took
    }

    /// Whether the last turn was a long one.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long
    }

    pub(crate) fn computed(&self) -> Duration {
        self.computed
    }
}

fn processor_time() -> Option<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    Some(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_computing_once_a_guest_is_known_to_compute() {
        let mut stopwatch = Stopwatch {
            is_long: true,
            ..Stopwatch::default()
        };
        let turn = stopwatch.begin();
        std::thread::sleep(Duration::from_millis(30));
        stopwatch.end(&turn);
        assert!(stopwatch.computed() < Duration::from_millis(20));
    }

    #[test]
    fn computing_counts_in_both_ways_of_measuring() {
        let mut stopwatch = Stopwatch::default();
        for _ in 0..2 {
            let before = stopwatch.computed();
            let turn = stopwatch.begin();
            let start = processor_time().unwrap();
            while processor_time().unwrap() < start + Duration::from_millis(3) {}
            stopwatch.end(&turn);
            assert!(stopwatch.computed() - before >= Duration::from_millis(3));
            assert!(stopwatch.is_long);
        }
    }
}

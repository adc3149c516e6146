use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// A turn that took this long is a long one. By the wall's clock it may have been interrupted by others, so
/// that the next is measured by the processor's time.
const LONG: Duration = Duration::from_micros(500);

/// A turn of less is a small one, such as those of a small request, or of a guest that passes a body on:
/// no less work than what it takes to hand a guest over to another thread.
const SMALL: Duration = Duration::from_micros(100);

/// How long a guest computes in turns that are neither before its application is charged for them.
const LAP: Duration = Duration::from_millis(5);

/// How long a guest has computed, over all its turns.
///
/// What counts is the processor's time, of which other threads take nothing away; but asking for
/// it is a system call, and most guests have one short turn. So a turn is measured by the wall's
/// clock, and by the thread's only after a long one, of this guest or of any other.
#[derive(Default)]
pub(crate) struct Stopwatch {
    computed: Duration,
    /// How long the last turn took.
    last: Duration,
    /// Computed in turns that were not small.
    in_larger_turns: Duration,
    /// What of that has been seen by [`take_lap`](Self::take_lap).
    seen: Duration,
    /// The last turn was measured by the processor's time.
    is_exact: bool,
}

/// A turn that has begun, on this thread.
pub(crate) enum Turn {
    Wall(Instant),
    Processor(Duration),
}

impl Stopwatch {
    /// Begins a turn. While other guests compute for long (`is_vigilant`), their threads are likely to
    /// interrupt this one, and the first turn of a guest is measured by the processor's time already.
    pub(crate) fn begin(&self, is_vigilant: bool) -> Turn {
        let by_processor = is_vigilant || self.is_long();
        let processor = by_processor.then(processor_time).flatten();
        processor.map_or_else(|| Turn::Wall(Instant::now()), Turn::Processor)
    }

    /// How long the turn took.
    pub(crate) fn end(&mut self, turn: &Turn) -> Duration {
        let took = match turn {
            Turn::Wall(start) => start.elapsed(),
            Turn::Processor(start) => processor_time().unwrap_or(*start).saturating_sub(*start),
        };
        self.add(took, matches!(turn, Turn::Processor(_)));
        took
    }

    fn add(&mut self, took: Duration, is_exact: bool) {
        self.last = took;
        self.is_exact = is_exact;
        self.computed = self.computed.saturating_add(took);
        if took >= SMALL {
            self.in_larger_turns = self.in_larger_turns.saturating_add(took);
        }
    }

    /// After so many turns that were measured by the wall's clock.
    #[cfg(test)]
    pub(crate) fn after(turns: u32, turn: Duration) -> Self {
        let mut stopwatch = Self::default();
        (0..turns).for_each(|_| stopwatch.add(turn, false));
        stopwatch
    }

    /// Whether the last turn was a long one.
    pub(crate) fn is_long(&self) -> bool {
        self.last >= LONG
    }

    /// How long the last turn took.
    pub(crate) fn last(&self) -> Duration {
        self.last
    }

    pub(crate) fn computed(&self) -> Duration {
        self.computed
    }

    /// What was computed in turns that were not small.
    pub(crate) fn in_larger_turns(&self) -> Duration {
        self.in_larger_turns
    }

    /// To be asked after each turn: what the guest's application is to be charged for it. Small turns are
    /// free, and those that are neither small nor long come together, every [`LAP`].
    pub(crate) fn take_lap(&mut self) -> Option<Duration> {
        let lap = self.in_larger_turns.saturating_sub(self.seen);
        if lap < LAP && !self.is_long() {
            return None;
        }
        self.seen = self.in_larger_turns;
        // How much of a long turn by the wall's clock was its guest's cannot be told. The next ones are
        // measured.
        (self.is_exact || !self.is_long()).then_some(lap)
    }
}

fn processor_time() -> Option<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    Some(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(30);

    /// A turn in which the guest's thread does not get to compute, as when others interrupt it.
    fn interrupted(stopwatch: &mut Stopwatch, is_vigilant: bool) {
        let turn = stopwatch.begin(is_vigilant);
        std::thread::sleep(WAIT);
        stopwatch.end(&turn);
    }

    #[test]
    fn waiting_is_not_computing_once_a_guest_is_known_to_compute() {
        let mut stopwatch = Stopwatch::default();
        stopwatch.add(LONG, false);
        interrupted(&mut stopwatch, false);
        assert!(stopwatch.computed() < WAIT / 2);
    }

    #[test]
    fn waiting_is_not_computing_while_other_guests_compute_for_long() {
        let mut stopwatch = Stopwatch::default();
        interrupted(&mut stopwatch, true);
        assert!(stopwatch.computed() < WAIT / 2);
    }

    #[test]
    fn no_application_is_charged_for_a_first_turn_that_others_may_have_interrupted() {
        let mut stopwatch = Stopwatch::default();
        interrupted(&mut stopwatch, false);
        assert!(stopwatch.is_long());
        assert_eq!(stopwatch.take_lap(), None);
        let exact = 2 * LONG;
        stopwatch.add(exact, true);
        assert_eq!(stopwatch.take_lap(), Some(exact));
    }

    #[test]
    fn turns_that_are_neither_small_nor_long_are_charged_together() {
        let mut stopwatch = Stopwatch::default();
        let turn = LONG * 4 / 5;
        let mut charged = Duration::ZERO;
        for _ in 0..100 {
            stopwatch.add(turn, false);
            charged += stopwatch.take_lap().unwrap_or_default();
        }
        assert!(charged + LAP > 100 * turn, "{charged:?}");
        assert_eq!(stopwatch.in_larger_turns(), 100 * turn);

        let mut stopwatch = Stopwatch::default();
        for _ in 0..10_000 {
            stopwatch.add(SMALL / 2, false);
            assert_eq!(stopwatch.take_lap(), None);
        }
        assert_eq!(stopwatch.in_larger_turns(), Duration::ZERO);
    }

    #[test]
    fn computing_counts_in_both_ways_of_measuring() {
        let mut stopwatch = Stopwatch::default();
        for _ in 0..2 {
            let before = stopwatch.computed();
            let turn = stopwatch.begin(false);
            let start = processor_time().unwrap();
            while processor_time().unwrap() < start + Duration::from_millis(3) {}
            stopwatch.end(&turn);
            assert!(stopwatch.computed() - before >= Duration::from_millis(3));
            assert!(stopwatch.is_long());
        }
    }
}

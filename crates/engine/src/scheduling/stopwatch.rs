//! How long a guest computes: per turn, in all, and what of it its application is charged for. What follows
//! from that is decided elsewhere.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// A turn that took at least this is long. Measured by the wall clock, it may have been preempted, so the next
/// turn is measured by processor time.
const LONG: Duration = Duration::from_micros(500);

/// A turn that took less is small, like those of a small request or of a guest that forwards a body: handing the
/// guest over to another thread would cost as much.
const SMALL: Duration = Duration::from_micros(100);

/// How long a guest computes in turns that are neither small nor long before its application is charged for them.
const LAP: Duration = Duration::from_millis(5);

/// How long a guest has computed, over all its turns.
///
/// What should count is processor time, which preemption does not distort; but reading it is a system call, and
/// most guests have one short turn. So a turn is measured by the wall clock, and by the thread's processor time
/// only after a long turn, of this guest or of any other.
#[derive(Default)]
pub(crate) struct Stopwatch {
    computed: Duration,
    /// How long the last turn took.
    last: Duration,
    /// Computed in turns that were not small.
    in_larger_turns: Duration,
    /// What of that [`take_lap`](Self::take_lap) has returned.
    charged: Duration,
    /// The last turn was measured by processor time.
    is_exact: bool,
}

/// The beginning of a turn, by the clock that measures it. To be ended on the same thread.
pub(crate) enum TurnStart {
    WallClock(Instant),
    ProcessorTime(Duration),
}

impl Stopwatch {
    /// Begins a turn. Under `cpu_pressure` other guests compute for long and are likely to preempt this thread, so
    /// that even the first turn of a guest is measured by processor time.
    pub(crate) fn begin(&self, cpu_pressure: bool) -> TurnStart {
        let by_processor = cpu_pressure || self.is_long();
        let processor = by_processor.then(processor_time).flatten();
        processor.map_or_else(
            || TurnStart::WallClock(Instant::now()),
            TurnStart::ProcessorTime,
        )
    }

    /// Ends a turn, and returns how long it took.
    pub(crate) fn end(&mut self, turn: &TurnStart) -> Duration {
        let took = match turn {
            TurnStart::WallClock(start) => start.elapsed(),
            TurnStart::ProcessorTime(start) => {
                processor_time().unwrap_or(*start).saturating_sub(*start)
            }
        };
        self.add(took, matches!(turn, TurnStart::ProcessorTime(_)));
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

    /// After so many turns that were measured by the wall clock.
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

    /// What the guest's application is to be charged for; called after each turn. Small turns are free, and
    /// those that are neither small nor long are charged together, every [`LAP`].
    pub(crate) fn take_lap(&mut self) -> Option<Duration> {
        let lap = self.in_larger_turns.saturating_sub(self.charged);
        if lap < LAP && !self.is_long() {
            return None;
        }
        self.charged = self.in_larger_turns;
        // A long turn by the wall clock may have been preempted, and is not charged; the next ones are measured by
        // processor time.
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

    /// A turn in which the thread is preempted.
    fn preempted(stopwatch: &mut Stopwatch, cpu_pressure: bool) {
        let turn = stopwatch.begin(cpu_pressure);
        std::thread::sleep(WAIT);
        stopwatch.end(&turn);
    }

    #[test]
    fn preemption_does_not_count_after_a_long_turn() {
        let mut stopwatch = Stopwatch::default();
        stopwatch.add(LONG, false);
        preempted(&mut stopwatch, false);
        assert!(stopwatch.computed() < WAIT / 2);
    }

    #[test]
    fn preemption_does_not_count_under_cpu_pressure() {
        let mut stopwatch = Stopwatch::default();
        preempted(&mut stopwatch, true);
        assert!(stopwatch.computed() < WAIT / 2);
    }

    #[test]
    fn a_first_turn_that_may_have_been_preempted_is_not_charged() {
        let mut stopwatch = Stopwatch::default();
        preempted(&mut stopwatch, false);
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
    fn computing_counts_by_both_clocks() {
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

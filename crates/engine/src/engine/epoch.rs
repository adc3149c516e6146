//! The clock that interrupts guests which compute for long, through Wasmtime's epochs. What happens at an
//! interruption is in [`sandbox`](crate::sandbox).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

/// How often guests are interrupted while any computes for long, so that others on their threads get a turn.
const FAST_TICK: Duration = Duration::from_millis(1);

/// How often while none does. Waking up a thread a thousand times a second costs a virtual machine some per
/// cent of a core, and small requests need no interruption.
const SLOW_TICK: Duration = Duration::from_millis(5);

/// How long [`FAST_TICK`] holds after the last long turn.
const FAST_TICK_HOLD: Duration = Duration::from_millis(100);

/// Advances the epochs while guests compute: every [`FAST_TICK`] while turns are long, otherwise every
/// [`SLOW_TICK`]. It parks when no guest has computed since the last tick. It does not park sooner, since
/// waking it up for each turn of a guest would cost more than most turns do.
///
/// Stores yield at the next epoch, so that an endless loop in a guest occupies its thread for a tick at a time.
pub(crate) struct Ticker {
    shared: Arc<TickerState>,
    thread: JoinHandle<()>,
}

struct TickerState {
    /// Polls of guests in progress.
    computing: AtomicUsize,
    /// Whether there was one since the last tick.
    computed: AtomicBool,
    /// Whether a turn was long since the last tick.
    long: AtomicBool,
    /// Whether a turn was long within the last [`FAST_TICK_HOLD`].
    cpu_pressure: AtomicBool,
    /// Whether the thread is parked, or about to be.
    parked: AtomicBool,
    stop: AtomicBool,
    ticks: AtomicU64,
}

impl Ticker {
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub(crate) fn start(engines: [EngineWeak; 2]) -> io::Result<Self> {
        let shared = Arc::new(TickerState {
            computing: AtomicUsize::new(0),
            computed: AtomicBool::new(false),
            long: AtomicBool::new(false),
            cpu_pressure: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
        });
        let thread = thread::Builder::new().name("epoch".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&engines)
        })?;
        Ok(Self { shared, thread })
    }

    /// Marks a poll of a guest, until the returned guard is dropped. The epochs advance meanwhile.
    pub(crate) fn computing(&self) -> ComputingGuard<'_> {
        self.shared.computing.fetch_add(1, Ordering::SeqCst);
        if !self.shared.computed.load(Ordering::Relaxed) {
            self.shared.computed.store(true, Ordering::Relaxed);
        }
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
        ComputingGuard(&self.shared)
    }

    /// How often the epochs have been advanced.
    pub(crate) fn ticks(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// To be called after a long turn.
    pub(crate) fn note_long_turn(&self) {
        self.shared.long.store(true, Ordering::Relaxed);
    }

    /// Whether any guest has lately computed for long in one turn.
    pub(crate) fn cpu_pressure(&self) -> bool {
        self.shared.cpu_pressure.load(Ordering::Relaxed)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }
}

impl TickerState {
    fn run(&self, engines: &[EngineWeak]) {
        let mut pace = Pace::default();
        while !self.stop.load(Ordering::SeqCst) {
            let computed = self.computed.swap(false, Ordering::Relaxed);
            let is_needed = computed || self.computing.load(Ordering::SeqCst) > 0;
            let was_long = self.long.swap(false, Ordering::Relaxed);
            let wait = pace.next(is_needed, was_long, Instant::now());
            self.cpu_pressure
                .store(wait == Some(FAST_TICK), Ordering::Relaxed);
            let Some(wait) = wait else {
                self.park();
                continue;
            };
            thread::sleep(wait);
            self.ticks.fetch_add(1, Ordering::Relaxed);
            for engine in engines {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        }
    }

    fn park(&self) {
        // Announce, check again, then park, in this order: a guest that starts in between sees the announcement and
        // unparks this thread. A stale unpark costs one iteration of the loop.
        self.parked.store(true, Ordering::SeqCst);
        if self.computing.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// Decides when the next tick is.
#[derive(Default)]
struct Pace {
    fast_until: Option<Instant>,
}

impl Pace {
    /// The wait before the next tick; `None` where none is needed.
    fn next(&mut self, is_needed: bool, was_long: bool, now: Instant) -> Option<Duration> {
        if was_long {
            self.fast_until = Some(now + FAST_TICK_HOLD);
        }
        let is_fast = self.fast_until.is_some_and(|until| now < until);
        is_needed.then_some(if is_fast { FAST_TICK } else { SLOW_TICK })
    }
}

/// A poll of a guest in progress.
pub(crate) struct ComputingGuard<'a>(&'a TickerState);

impl Drop for ComputingGuard<'_> {
    fn drop(&mut self) {
        self.0.computing.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_fast_for_a_while_after_a_long_turn_and_stop_when_no_guest_computes() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.next(true, false, now), Some(SLOW_TICK));
        assert_eq!(pace.next(true, true, now), Some(FAST_TICK));
        assert_eq!(pace.next(false, false, now), None);
        let later = now + FAST_TICK_HOLD / 2;
        assert_eq!(pace.next(true, false, later), Some(FAST_TICK));
        assert_eq!(
            pace.next(true, false, now + FAST_TICK_HOLD),
            Some(SLOW_TICK)
        );
        // Another long turn extends it.
        assert_eq!(pace.next(true, true, later), Some(FAST_TICK));
        assert_eq!(
            pace.next(true, false, now + FAST_TICK_HOLD),
            Some(FAST_TICK)
        );
    }
}

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

/// How long a guest may compute before it yields to the others on its thread, where guests compute
/// for long.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);

/// The same where none has done so lately. Waking up a thread a thousand times a second costs a
/// virtual machine some per cent of a core, and small requests need nobody who interrupts them.
const PATIENCE: Duration = Duration::from_millis(5);

/// How long that goes on after the last long turn.
const VIGILANCE: Duration = Duration::from_millis(100);

/// Advances the engines' epochs while guests compute: every [`PERIOD`] when one has just computed for
/// long, otherwise every [`PATIENCE`]. It sleeps without waking up when none has computed since the
/// last tick: to wake this thread up for each turn of a guest costs more than most turns do.
///
/// Stores are set to yield at the next epoch, so an endless loop in a guest costs its thread
/// one slice at a time.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    /// Polls of guests in progress.
    computing: AtomicUsize,
    /// There was one since the last tick.
    computed: AtomicBool,
    /// A turn was long.
    long: AtomicBool,
    /// Turns were long lately.
    is_vigilant: AtomicBool,
    /// The thread found nobody computing and waits to be unparked.
    parked: AtomicBool,
    stop: AtomicBool,
    ticks: AtomicU64,
}

impl Ticker {
    /// # Errors
    ///
    /// When the operating system has no thread to give.
    pub(crate) fn start(engines: [EngineWeak; 2]) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            computing: AtomicUsize::new(0),
            computed: AtomicBool::new(false),
            long: AtomicBool::new(false),
            is_vigilant: AtomicBool::new(false),
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

    /// Ticks until the returned guard is dropped.
    pub(crate) fn computing(&self) -> Computing<'_> {
        self.shared.computing.fetch_add(1, Ordering::SeqCst);
        if !self.shared.computed.load(Ordering::Relaxed) {
            self.shared.computed.store(true, Ordering::Relaxed);
        }
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
        Computing(&self.shared)
    }

    /// How often the epochs have been advanced.
    pub(crate) fn ticks(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// A guest has computed for long in one turn.
    pub(crate) fn note_long_turn(&self) {
        self.shared.long.store(true, Ordering::Relaxed);
    }

    /// Whether one has lately.
    pub(crate) fn is_vigilant(&self) -> bool {
        self.shared.is_vigilant.load(Ordering::Relaxed)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }
}

impl Shared {
    fn run(&self, engines: &[EngineWeak]) {
        let mut pace = Pace::default();
        while !self.stop.load(Ordering::SeqCst) {
            let computed = self.computed.swap(false, Ordering::Relaxed);
            let is_needed = computed || self.computing.load(Ordering::SeqCst) > 0;
            let was_long = self.long.swap(false, Ordering::Relaxed);
            let wait = pace.next(is_needed, was_long, Instant::now());
            self.is_vigilant
                .store(wait == Some(PERIOD), Ordering::Relaxed);
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
        // Announce, look again, then sleep: a guest that starts in between sees the announcement and
        // unparks us. A stale unpark only costs one turn of the loop.
        self.parked.store(true, Ordering::SeqCst);
        if self.computing.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// How soon the next tick is to come.
#[derive(Default)]
struct Pace {
    vigilant_until: Option<Instant>,
}

impl Pace {
    /// The wait before the next tick; none while none is needed.
    fn next(&mut self, is_needed: bool, was_long: bool, now: Instant) -> Option<Duration> {
        if was_long {
            self.vigilant_until = Some(now + VIGILANCE);
        }
        let is_vigilant = self.vigilant_until.is_some_and(|until| now < until);
        is_needed.then_some(if is_vigilant { PERIOD } else { PATIENCE })
    }
}

/// One poll of a guest in progress.
pub(crate) struct Computing<'a>(&'a Shared);

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.computing.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_sooner_for_a_while_after_a_long_turn_and_not_at_all_when_none_computes() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.next(true, false, now), Some(PATIENCE));
        assert_eq!(pace.next(true, true, now), Some(PERIOD));
        assert_eq!(pace.next(false, false, now), None);
        let later = now + VIGILANCE / 2;
        assert_eq!(pace.next(true, false, later), Some(PERIOD));
        assert_eq!(pace.next(true, false, now + VIGILANCE), Some(PATIENCE));
        // Another one begins it anew.
        assert_eq!(pace.next(true, true, later), Some(PERIOD));
        assert_eq!(pace.next(true, false, now + VIGILANCE), Some(PERIOD));
    }
}

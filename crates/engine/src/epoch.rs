use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::EngineWeak;

/// How long a guest may compute before it yields to the others on its thread.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);

/// Advances the engines' epochs every [`PERIOD`] while guests compute, and sleeps without waking up
/// when none has done so for a period: to wake this thread up for each turn of a guest costs more
/// than most turns do.
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
    /// The thread found nobody computing and waits to be unparked.
    parked: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    /// # Errors
    ///
    /// When the operating system has no thread to give.
    pub(crate) fn start(engines: [EngineWeak; 2]) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            computing: AtomicUsize::new(0),
            computed: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
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
        self.shared.computed.store(true, Ordering::Relaxed);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
        Computing(&self.shared)
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
        while !self.stop.load(Ordering::SeqCst) {
            let computed = self.computed.swap(false, Ordering::Relaxed);
            if computed || self.computing.load(Ordering::SeqCst) > 0 {
                thread::sleep(PERIOD);
                for engine in engines {
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
                continue;
            }
            // Announce, look again, then sleep: a guest that starts in between sees the
            // announcement and unparks us. A stale unpark only costs one turn of the loop.
            self.parked.store(true, Ordering::SeqCst);
            if self.computing.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            self.parked.store(false, Ordering::SeqCst);
        }
    }
}

/// One poll of a guest in progress.
pub(crate) struct Computing<'a>(&'a Shared);

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.computing.fetch_sub(1, Ordering::SeqCst);
    }
}

//! Guests that compute for long go on elsewhere, so that others on their thread need not take turns with
//! them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::application::Application;
use crate::run::{Over, OwnWork, compute};
use crate::scheduling::fair_queue::{TurnTaker, Turns};
use crate::scheduling::stopwatch::Stopwatch;

/// How long a guest has computed when it is moved: long enough that to hand it over, and each of its
/// wake-ups from then on, is little beside.
const AFTER: Duration = Duration::from_millis(5);

/// The same for one whose turns are not long, since it yields by itself, and not small either: with many
/// of them on a thread, each turn of another guest would wait for one of each.
const AFTER_SHORT_TURNS: Duration = Duration::from_millis(20);

/// Whether a guest that has just yielded is one to be moved.
pub(crate) fn is_due(stopwatch: &Stopwatch) -> bool {
    let is_due = stopwatch.is_long() && stopwatch.computed() >= AFTER;
    is_due || stopwatch.in_larger_turns() >= AFTER_SHORT_TURNS
}

/// Where guests compute that do so for long.
#[derive(Clone)]
pub(crate) struct Background {
    runtime: Handle,
    turns: Arc<Turns>,
}

impl Background {
    pub(crate) fn new(runtime: Handle) -> Self {
        let turns = Turns::new(runtime.metrics().num_workers());
        Self { runtime, turns }
    }

    /// Runs a task there. Its guests need an [`Away`].
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// For a guest of this application that belongs to the runtime that this is called in.
    pub(crate) fn away(&self, application: &Application) -> Away {
        let cpu = Arc::clone(&application.inner().cpu);
        Away {
            home: Handle::current(),
            turn: TurnTaker::new(Arc::clone(&self.turns), cpu),
        }
    }
}

/// A guest that computes in the background. What it begins there still belongs to the runtime that it
/// comes from: its timers, and connections that other guests may use after it.
pub(crate) struct Away {
    home: Handle,
    turn: TurnTaker,
}

impl Away {
    /// Lets the guest compute, once it is its turn.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        stopwatch: &mut Stopwatch,
        compute: impl FnOnce(&mut Context<'_>, &mut Stopwatch) -> Poll<T>,
    ) -> Poll<T> {
        ready!(self.turn.poll_begin(cx));
        let _at_home = self.home.enter();
        let polled = compute(cx, stopwatch);
        self.turn.finish(stopwatch.last());
        polled
    }
}

/// A guest that goes on in a task of its own. Dropping this cancels it, after its turn at the latest.
pub(crate) struct Moved(JoinHandle<Ended>);

/// What goes with a guest, and comes back when it has ended.
pub(crate) struct Luggage {
    pub(crate) stopwatch: Stopwatch,
    /// Its right to be there, which a cancelled guest keeps until its instance is gone.
    pub(crate) slot: Option<OwnedSemaphorePermit>,
}

/// How a guest has ended.
pub(crate) enum Ended {
    /// Its instance is there until whoever waits for it knows: when that goes, a body that it left
    /// unfinished looks like a finished one.
    ByItself(Over, Luggage),
    /// Its work must not go on, and is there for the same reason.
    Failed(Failure, OwnWork, Luggage),
    /// With the runtime that it was in.
    Lost(Failure),
}

impl Moved {
    /// Lets the guest go on in the background, as far as its application gets turns there.
    pub(crate) fn to(
        background: &Background,
        mut work: OwnWork,
        application: Application,
        mut luggage: Luggage,
    ) -> Self {
        let away = background.away(&application);
        Self(background.spawn(async move {
            let limit = application.settings().limits.execution_timeout;
            let over = poll_fn(|cx| {
                away.poll(cx, &mut luggage.stopwatch, |cx, stopwatch| {
                    let poll = || work.as_mut().poll(cx);
                    compute(application.inner(), stopwatch, limit, poll)
                })
            });
            match over.await {
                Ok(over) => Ended::ByItself(over, luggage),
                Err(failure) => Ended::Failed(failure, work, luggage),
            }
        }))
    }

    /// Waits for its end. Not to be called again when that has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let joined = ready!(Pin::new(&mut self.0).poll(cx));
        // Panics are caught inside; what is left is a runtime that ends.
        Poll::Ready(joined.unwrap_or_else(|error| Ended::Lost(Failure::Panic(error.to_string()))))
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_that_compute_for_long_are_moved_in_however_short_turns() {
        let is_due =
            |turns, micros| is_due(&Stopwatch::after(turns, Duration::from_micros(micros)));
        assert!(is_due(1, 5000));
        assert!(is_due(10, 500));
        assert!(!is_due(9, 500));
        // These yield before they are interrupted.
        assert!(is_due(50, 400));
        assert!(!is_due(49, 400));
        // Those of a guest that passes on what others send.
        assert!(!is_due(10_000, 50));
    }
}

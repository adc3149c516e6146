//! Offload: guests that compute for long continue in the background runtime, so that they do not delay others
//! on the threads that serve.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::application::Application;
use crate::engine::background::Background;
use crate::engine::instance::Instance;
use crate::run::cpu_limit::compute;
use crate::scheduling::stopwatch::Stopwatch;

/// An instance's work on its own request.
pub(super) type InstanceWork = Pin<Box<dyn Future<Output = EndedWork> + Send>>;

/// An instance after its request, and how that ended.
pub(super) type EndedWork = (Instance, Result<(), Failure>);

/// How long a guest has computed when it is offloaded: long enough that handing it over, and each of its
/// wake-ups in the other runtime, costs little in comparison.
const AFTER: Duration = Duration::from_millis(5);

/// The same for a guest whose turns are neither long, since it yields by itself, nor small. With many of those on a
/// thread, each turn of another guest would wait for one of each.
const AFTER_SHORT_TURNS: Duration = Duration::from_millis(20);

/// Whether a guest that has just yielded is to be offloaded.
pub(super) fn should_offload(stopwatch: &Stopwatch) -> bool {
    let is_due = stopwatch.is_long() && stopwatch.computed() >= AFTER;
    is_due || stopwatch.in_larger_turns() >= AFTER_SHORT_TURNS
}

/// A guest in a task of the background. Dropping this cancels it, at the latest after its current turn.
pub(super) struct Offloaded(JoinHandle<OffloadEnd>);

/// What moves to the background with a guest, and comes back when it has ended.
pub(super) struct OffloadState {
    pub(super) stopwatch: Stopwatch,
    /// Of the concurrency limit. With a cancelled guest it is given back only when the instance is gone.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// How an offloaded guest has ended. In each case the instance comes back to the request's task: only while it
/// exists can the end of an unfinished body be distinguished from that of a finished one.
pub(super) enum OffloadEnd {
    ByItself(EndedWork, OffloadState),
    /// The work must not be polled again.
    Failed(Failure, InstanceWork, OffloadState),
    /// The background runtime has shut down, and the instance with it.
    RuntimeGone(Failure),
}

impl Offloaded {
    /// Hands the guest over to the background. Called in the runtime that the guest comes from.
    pub(super) fn start(
        background: &Background,
        mut work: InstanceWork,
        application: Application,
        mut state: OffloadState,
    ) -> Self {
        let guest = background.guest(&application.inner().cpu);
        Self(background.spawn(async move {
            let limit = application.settings().limits.execution_timeout;
            let ended = poll_fn(|cx| {
                guest.poll(cx, &mut state.stopwatch, |cx, stopwatch| {
                    let poll = || work.as_mut().poll(cx);
                    compute(application.inner(), stopwatch, limit, poll)
                })
            });
            match ended.await {
                Ok(ended) => OffloadEnd::ByItself(ended, state),
                Err(failure) => OffloadEnd::Failed(failure, work, state),
            }
        }))
    }

    /// Waits for the end of the guest. Must not be called again after that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<OffloadEnd> {
        let joined = ready!(Pin::new(&mut self.0).poll(cx));
        // Panics are caught inside the task; what is left is a runtime that has shut down.
        Poll::Ready(
            joined
                .unwrap_or_else(|error| OffloadEnd::RuntimeGone(Failure::Panic(error.to_string()))),
        )
    }
}

impl Drop for Offloaded {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_that_compute_for_long_are_offloaded_however_short_their_turns() {
        let is_due =
            |turns, micros| should_offload(&Stopwatch::after(turns, Duration::from_micros(micros)));
        assert!(is_due(1, 5000));
        assert!(is_due(10, 500));
        assert!(!is_due(9, 500));
        // These yield before they are interrupted.
        assert!(is_due(50, 400));
        assert!(!is_due(49, 400));
        // As of a guest that forwards a body.
        assert!(!is_due(10_000, 50));
    }
}

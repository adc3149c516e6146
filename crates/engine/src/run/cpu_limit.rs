//! The limit on a guest's CPU time, `limits.execution_timeout`: each poll of the guest is measured, and the one that
//! exceeds the limit is the last. A guest returns from a poll at each tick of the epoch (`engine::epoch`), also from an
//! endless loop. Which guest is polled next is decided by `scheduling`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use crate::Failure;
use crate::application::ApplicationInner;
use crate::scheduling::stopwatch::Stopwatch;

/// Polls a guest for one turn: measures how long it computes, and ends it after `allowed` in all.
///
/// A panic is a defect of the host, and must not end the other requests of the connection: it is caught. After
/// an error, what was polled must not be polled again.
pub(crate) fn compute<T>(
    application: &ApplicationInner,
    stopwatch: &mut Stopwatch,
    allowed: Duration,
    poll: impl FnOnce() -> Poll<T>,
) -> Poll<Result<T, Failure>> {
    let ticker = application.engine.ticker();
    let computing = ticker.computing();
    let turn = stopwatch.begin(ticker.cpu_pressure());
    let polled = catch_unwind(AssertUnwindSafe(poll));
    application.counters.computed(stopwatch.end(&turn));
    drop(computing);
    if stopwatch.is_long() {
        ticker.note_long_turn();
    }
    match polled {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) if stopwatch.computed() > allowed => {
            let limit = application.settings().limits.execution_timeout;
            Poll::Ready(Err(Failure::ExecutionTimeout(limit)))
        }
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panicked(&*panic))),
    }
}

pub(super) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::Panic(text.unwrap_or("without a message").to_owned())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{Application, Component, Engine, Options, Settings};

    #[test]
    fn a_first_turn_is_measured_by_processor_time_under_cpu_pressure() {
        const PREEMPTED: Duration = Duration::from_millis(20);
        let engine = Engine::new(&Options {
            instances: 4,
            ..Options::default()
        });
        let engine = engine.unwrap();
        let component = Component::load(&engine, &test_components::guest("sleep")).unwrap();
        let application = Application::new(engine, component, Settings::new("sleep"));
        let inner = application.inner();
        let ticker = inner.engine.ticker();
        let is_exact = || {
            let _computing = ticker.computing();
            ticker.note_long_turn();
            while !ticker.cpu_pressure() {
                thread::yield_now();
            }
            let mut stopwatch = Stopwatch::default();
            let computed = compute(inner, &mut stopwatch, Duration::MAX, || {
                thread::sleep(PREEMPTED);
                Poll::Ready(())
            });
            assert!(computed.is_ready());
            stopwatch.computed() < PREEMPTED / 2
        };
        // On a busy machine, the pressure may have ended before the turn begins.
        assert!((0..10).any(|_| is_exact()));
    }
}

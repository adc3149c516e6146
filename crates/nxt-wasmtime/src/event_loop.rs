//! One thread's loop over its libunit context, its requests and their guests.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, Stream};
use tokio::time::{Sleep, sleep};

use crate::context::{Received, UnitContext};
use crate::deferred_wakeups::Told;
use crate::port::Watch;
use crate::request::Request;
use crate::worker::{MAX_FAILURES, Worker};

/// Turns of the loop before timers and other tasks have theirs.
const TURNS: usize = 64;

/// A worker whose guests compute this long in one turn leaves new requests to others that sleep.
const BUSY: Duration = Duration::from_micros(500);

/// A worker that had nothing to do for so long has the time to tell the router of a request at once.
const IDLE: Duration = Duration::from_millis(1);

/// When to look again for what nobody tells of: a segment of shared memory that the router has just
/// got, an instance that has become free elsewhere, the router's end while unitd ends.
const RECHECK: Duration = Duration::from_millis(50);

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// unitd said so. Whether requests were cut off for it.
    Quit { cut_off: bool },
    /// libunit does not work any more.
    Failed,
}

/// Serves the requests of a context until unitd ends it. `when_ready` is run once, when unitd knows
/// the context.
pub(crate) async fn run(context: &UnitContext, when_ready: impl FnOnce()) -> End {
    let process = context.worker().process();
    let mut turns = Turns {
        context,
        worker: context.worker(),
        requests: FuturesUnordered::new(),
        serve: |request| unit_app::serve(&process.application, request, &process.options),
        recheck: None,
        idle_since: None,
    };
    let mut when_ready = Some(when_ready);
    let end = poll_fn(|cx| {
        let end = turns.poll(cx);
        if turns.worker.ready.get()
            && let Some(when_ready) = when_ready.take()
        {
            when_ready();
        }
        end
    })
    .await;
    // Requests that are left are cut off here: unitd does not wait for them.
    drop(turns);
    context.worker().notices.tell();
    end
}

/// The state of a worker's loop.
struct Turns<'a, F, S> {
    context: &'a UnitContext,
    worker: &'a Rc<Worker>,
    requests: FuturesUnordered<F>,
    serve: S,
    /// When to look again for what nobody tells of.
    recheck: Option<Pin<Box<Sleep>>>,
    /// Since when there was nothing to do, until the next request.
    idle_since: Option<Instant>,
}

impl<F, S> Turns<'_, F, S>
where
    F: Future<Output = ()>,
    S: Fn(Request) -> F,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let (worker, process) = (self.worker, self.worker.process());
        let bell = worker.bell();
        if bell.answer(cx) {
            worker.look.set(true);
        }
        worker.notices.tell_late();
        for _ in 0..TURNS {
            let calls = process.calls();
            let mut progress = self.receive_own(cx);
            let is_full = self.requests.len() >= process.requests_per_worker;
            let has_room = process.application.has_room();
            if worker.ready.get() && !is_full && has_room {
                progress |= self.receive_shared(cx);
            }
            while let Some(request) = worker.next_arrived() {
                self.requests.push((self.serve)(request));
                // The router is to know soon for whom it has to answer if this process is killed.
                // When there is much to do, it hears of this one with the next.
                let idle_since = self.idle_since.take();
                if idle_since.is_some_and(|since| since.elapsed() >= IDLE) {
                    worker.notices.tell();
                }
            }
            if worker.ended.get() || process.must_end() {
                return Poll::Ready(End::Quit {
                    cut_off: !self.requests.is_empty(),
                });
            }
            if worker.failures.get() >= MAX_FAILURES {
                return Poll::Ready(End::Failed);
            }
            let mut is_busy = is_full || !has_room;
            if !self.requests.is_empty() {
                let began = Instant::now();
                let next = Pin::new(&mut self.requests).poll_next(cx);
                progress |= matches!(next, Poll::Ready(Some(())));
                is_busy |= began.elapsed() >= BUSY;
            }
            if is_busy {
                // unitd says only once that there are requests, and this worker may have heard it.
                process.ring_another();
            }
            if progress {
                worker.notices.tell_late();
                continue;
            }
            self.idle_since.get_or_insert_with(Instant::now);
            let is_alone = worker.notices.tell() == Told::Nobody
                || (worker.is_closing() && worker.notices.is_anyone_gone());
            if is_alone {
                process.end_without_router();
            }
            bell.set_asleep(!is_busy);
            if !is_busy && process.calls() != calls {
                // Somebody rang before this was asleep.
                worker.look.set(true);
                cx.waker().wake_by_ref();
            }
            let nobody_tells = worker.has_writers() || !has_room || worker.is_closing();
            return self.wait(nobody_tells, cx);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the turn; when there is something that nobody tells of, it is looked for in a while.
    fn wait(&mut self, nobody_tells: bool, cx: &mut Context<'_>) -> Poll<End> {
        if !nobody_tells {
            self.recheck = None;
            return Poll::Pending;
        }
        let recheck = self.recheck.get_or_insert_with(|| Box::pin(sleep(RECHECK)));
        if recheck.as_mut().poll(cx).is_ready() {
            self.recheck = None;
            self.worker.memory_came();
            self.worker.look.set(true);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes a message from the context's own port, if there is one. Otherwise the task is woken when
    /// there is.
    fn receive_own(&self, cx: &mut Context<'_>) -> bool {
        // The callbacks may take the port from its place.
        let Some(watch) = self.worker.own_port() else {
            return false;
        };
        loop {
            let Poll::Ready(Ok(mut readable)) = watch.poll_read_ready(cx) else {
                return false;
            };
            if self.take(&watch) != Received::Nothing {
                return true;
            }
            // libunit also finds nothing when it has just read a message that only pointed to the
            // queue, and there are others behind it.
            if !watch.get_ref().is_readable() {
                readable.clear_ready();
            }
        }
    }

    /// Takes a request from the application's queue, if there is one. Otherwise the task is woken when
    /// there is, unless another has been woken before it.
    fn receive_shared(&self, cx: &mut Context<'_>) -> bool {
        let Some(watch) = self.worker.shared_port.borrow().clone() else {
            return false;
        };
        if self.worker.look.get() {
            if self.take(&watch) != Received::Nothing {
                return true;
            }
            self.worker.look.set(false);
        }
        loop {
            let Poll::Ready(Ok(mut readable)) = watch.poll_read_ready(cx) else {
                return false;
            };
            if self.take(&watch) != Received::Nothing {
                return true;
            }
            readable.clear_ready();
        }
    }

    fn take(&self, watch: &Watch) -> Received {
        let received = self.context.receive(watch.get_ref());
        let failures = &self.worker.failures;
        failures.set(if received == Received::Failed {
            failures.get() + 1
        } else {
            0
        });
        received
    }
}

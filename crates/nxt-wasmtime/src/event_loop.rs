//! The loop of one worker: it reads the ports of its libunit context, and polls its requests, in which
//! their guests run.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, Stream};
use tokio::time::{Sleep, sleep};

use crate::context::{Received, UnitContext};
use crate::deferred_wakeups::PeerExited;
use crate::port::WatchedPort;
use crate::request::Request;
use crate::worker::Worker;

/// Turns of the loop in one poll. After them, tokio's timers and I/O get theirs.
const TURNS_PER_POLL: usize = 64;

/// A worker whose guests compute this long in one turn leaves new requests to idle workers.
const BUSY_AFTER: Duration = Duration::from_micros(500);

/// A worker that was idle for so long has the time to acknowledge its next request at once.
const IDLE_AFTER: Duration = Duration::from_millis(1);

/// How often to check what no message announces: a segment of shared memory that the router has just
/// mapped, an instance that another worker has freed, the router's exit while unitd stops.
const RECHECK: Duration = Duration::from_millis(50);

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEnd {
    /// unitd asked it to quit, or the process is ending. `cut_off` is whether requests were in progress.
    Quit { cut_off: bool },
    /// libunit kept failing.
    Failed,
}

/// Serves the requests of a context until unitd ends it. `when_ready` is run once, when unitd has
/// registered the context.
pub(crate) async fn run(context: &UnitContext, when_ready: impl FnOnce()) -> WorkerEnd {
    let process = context.worker().process();
    let mut event_loop = EventLoop {
        context,
        worker: context.worker(),
        requests: FuturesUnordered::new(),
        serve: |request| unit_app::serve(&process.application, request, &process.options),
        recheck: None,
        idle_since: None,
    };
    let mut when_ready = Some(when_ready);
    let end = poll_fn(|cx| {
        let end = event_loop.poll(cx);
        if event_loop.worker.is_ready()
            && let Some(when_ready) = when_ready.take()
        {
            when_ready();
        }
        end
    })
    .await;
    // Cuts off the requests that are left: unitd does not wait for them.
    drop(event_loop);
    // After that, since the drops add to the queues. If the router has exited, the worker ends anyway.
    let _ = context.worker().wakeups().flush();
    end
}

struct EventLoop<'a, F, S> {
    context: &'a UnitContext,
    worker: &'a Rc<Worker>,
    requests: FuturesUnordered<F>,
    serve: S,
    /// Set while there is something to wait for that no message announces.
    recheck: Option<Pin<Box<Sleep>>>,
    /// Since when there has been nothing to do; kept until the next request.
    idle_since: Option<Instant>,
}

impl<F, S> EventLoop<'_, F, S>
where
    F: Future<Output = ()>,
    S: Fn(Request) -> F,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WorkerEnd> {
        let (worker, process) = (self.worker, self.worker.process());
        let waker = worker.waker();
        if waker.take_request(cx) {
            worker.set_check_queue(true);
        }
        worker.wakeups().flush_overdue();
        for _ in 0..TURNS_PER_POLL {
            let idle_wakeups = process.idle_wakeups();
            let mut progress = self.receive_own(cx);
            let is_full = self.requests.len() >= process.requests_per_worker;
            let has_room = process.application.has_room();
            if worker.is_ready() && !is_full && has_room {
                progress |= self.receive_shared(cx);
            }
            while let Some(request) = worker.pop_request() {
                self.requests.push((self.serve)(request));
                // The router must know soon which requests it has to answer if this process is killed.
                // Under load it learns of this one along with the next.
                let idle_since = self.idle_since.take();
                if idle_since.is_some_and(|since| since.elapsed() >= IDLE_AFTER) {
                    // An exited router is found again below, or with the next wake-up.
                    let _ = worker.wakeups().flush();
                }
            }
            if worker.has_quit() || process.is_ending() {
                return Poll::Ready(WorkerEnd::Quit {
                    cut_off: !self.requests.is_empty(),
                });
            }
            if worker.has_failed() {
                return Poll::Ready(WorkerEnd::Failed);
            }
            let mut is_busy = is_full || !has_room;
            if !self.requests.is_empty() {
                let began = Instant::now();
                let next = Pin::new(&mut self.requests).poll_next(cx);
                progress |= matches!(next, Poll::Ready(Some(())));
                is_busy |= began.elapsed() >= BUSY_AFTER;
            }
            if is_busy {
                // unitd announces requests only once, and this worker may have read the message.
                process.wake_idle();
            }
            if progress {
                worker.wakeups().flush_overdue();
                continue;
            }
            self.idle_since.get_or_insert_with(Instant::now);
            let router_exited = worker.wakeups().flush() == Err(PeerExited)
                || (worker.is_closing() && worker.wakeups().has_peer_exited());
            if router_exited {
                process.end_without_router();
            }
            waker.set_idle(!is_busy);
            // After `set_idle`: a worker that looked for an idle one just before did not find this one.
            if !is_busy && process.idle_wakeups() != idle_wakeups {
                worker.set_check_queue(true);
                cx.waker().wake_by_ref();
            }
            let unannounced = worker.memory().has_waiting() || !has_room || worker.is_closing();
            return self.wait(unannounced, cx);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits to be woken; if it waits for something that no message announces, for [`RECHECK`] at most.
    fn wait(&mut self, unannounced: bool, cx: &mut Context<'_>) -> Poll<WorkerEnd> {
        if !unannounced {
            self.recheck = None;
            return Poll::Pending;
        }
        let recheck = self.recheck.get_or_insert_with(|| Box::pin(sleep(RECHECK)));
        if recheck.as_mut().poll(cx).is_ready() {
            self.recheck = None;
            self.worker.memory().wake_all();
            self.worker.set_check_queue(true);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Receives a message from the context's own port, or registers to be woken when one arrives.
    fn receive_own(&self, cx: &mut Context<'_>) -> bool {
        // Cloned out of its cell: the callbacks may remove the port.
        let Some(port) = self.worker.own_port() else {
            return false;
        };
        loop {
            let Poll::Ready(Ok(mut readable)) = port.poll_read_ready(cx) else {
                return false;
            };
            if self.receive(&port) != Received::Nothing {
                return true;
            }
            // libunit also finds nothing right after a message that only announced entries of the
            // queue, even if there are more messages on the socket.
            if !port.get_ref().is_readable() {
                readable.clear_ready();
            }
        }
    }

    /// Receives a request from the application's queue, or registers to be woken when one arrives,
    /// unless another worker is woken instead.
    fn receive_shared(&self, cx: &mut Context<'_>) -> bool {
        let Some(port) = self.worker.shared_port() else {
            return false;
        };
        if self.worker.checks_queue() {
            if self.receive(&port) != Received::Nothing {
                return true;
            }
            self.worker.set_check_queue(false);
        }
        loop {
            let Poll::Ready(Ok(mut readable)) = port.poll_read_ready(cx) else {
                return false;
            };
            if self.receive(&port) != Received::Nothing {
                return true;
            }
            readable.clear_ready();
        }
    }

    fn receive(&self, port: &WatchedPort) -> Received {
        let received = self.context.receive(port.get_ref());
        self.worker.count_call(received == Received::Failed);
        received
    }
}

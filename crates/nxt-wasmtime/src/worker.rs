//! One thread's loop over its libunit context, its requests and their guests.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, Stream};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, interval};

use crate::context::{Port, Received, UnitContext};
use crate::notices::Notices;
use crate::process::Process;
use crate::request::Request;

/// Turns of the loop before timers and other tasks have theirs.
const TURNS: usize = 64;

/// A worker whose guests compute this long in one turn leaves new requests to others that sleep.
const BUSY: Duration = Duration::from_micros(500);

/// How often writers look for memory by themselves. Unit tells them; this is for what it does not
/// tell, such as a segment that the router has just got.
const LOOK_FOR_MEMORY: Duration = Duration::from_millis(50);

/// Failures of libunit in a row that end the worker, and with it the process.
const MAX_FAILURES: u32 = 100;

/// How long guests that work on after their response are waited for at the end.
const FINISH: Duration = Duration::from_secs(5);

/// What the callbacks of one context, its requests and its loop share. All of them are on one
/// thread.
pub(crate) struct Worker {
    process: Arc<Process>,
    number: usize,
    /// Messages for this context: contents, ends, answers.
    own_port: RefCell<Option<Watch>>,
    /// New requests, for whichever context of the application takes them first.
    shared_port: RefCell<Option<Watch>>,
    arrived: RefCell<VecDeque<Request>>,
    notices: Notices,
    /// Who waits for shared memory.
    writers: RefCell<Vec<Waker>>,
    /// unitd knows the process; it may have further contexts now.
    ready: Cell<bool>,
    /// There may be requests that nobody tells of again.
    look_again: Cell<bool>,
    /// unitd wants the context to end.
    ended: Cell<bool>,
    failures: Cell<u32>,
}

type Watch = Rc<AsyncFd<Port>>;

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// unitd said so.
    Quit,
    /// libunit does not work any more.
    Failed,
}

impl Worker {
    pub(crate) fn new(process: Arc<Process>, number: usize) -> Rc<Self> {
        Rc::new(Self {
            process,
            number,
            own_port: RefCell::default(),
            shared_port: RefCell::default(),
            arrived: RefCell::default(),
            notices: Notices::default(),
            writers: RefCell::default(),
            ready: Cell::new(false),
            look_again: Cell::new(false),
            ended: Cell::new(false),
            failures: Cell::new(0),
        })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    // What the callbacks have to say.

    pub(crate) fn arrived(&self, request: Request) {
        self.arrived.borrow_mut().push_back(request);
    }

    /// Watches the context's own port. Must be called inside the worker's runtime.
    pub(crate) fn watch_own_port(&self, port: Port) -> io::Result<()> {
        *self.own_port.borrow_mut() = Some(watch(port)?);
        Ok(())
    }

    /// Watches the application's shared port. Must be called inside the worker's runtime.
    pub(crate) fn watch_shared_port(&self, port: Port) -> io::Result<()> {
        *self.shared_port.borrow_mut() = Some(watch(port)?);
        Ok(())
    }

    /// Stops watching the ports that are meant.
    pub(crate) fn remove_ports(&self, is_meant: impl Fn(&Port) -> bool) {
        for watched in [&self.own_port, &self.shared_port] {
            let mut watched = watched.borrow_mut();
            if watched
                .as_ref()
                .is_some_and(|watch| is_meant(watch.get_ref()))
            {
                *watched = None;
            }
        }
    }

    pub(crate) fn process_is_ready(&self) {
        self.ready.set(true);
        // libunit has not looked at requests that came before.
        self.look_again.set(true);
    }

    pub(crate) fn end(&self) {
        self.ended.set(true);
    }

    pub(crate) fn memory_came(&self) {
        for writer in self.writers.take() {
            writer.wake();
        }
    }

    /// Wakes a task when there may be shared memory.
    pub(crate) fn wait_for_memory(&self, waker: &Waker) {
        let mut writers = self.writers.borrow_mut();
        if !writers.iter().any(|writer| writer.will_wake(waker)) {
            writers.push(waker.clone());
        }
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.notices
    }

    fn next_arrived(&self) -> Option<Request> {
        self.arrived.borrow_mut().pop_front()
    }

    fn has_writers(&self) -> bool {
        !self.writers.borrow().is_empty()
    }

    fn bell(&self) -> &Bell {
        self.process.bell(self.number)
    }
}

fn watch(port: Port) -> io::Result<Watch> {
    // SAFETY: a port owns its file descriptor, which stays the same as long as the port lives.
    let watch = unsafe { AsyncFd::register_with_interest(port, Interest::READABLE) };
    watch.map(Rc::new).map_err(|error| error.into_parts().1)
}

/// Serves the requests of a context until unitd ends it. `when_ready` is run once, when unitd knows
/// the process, if this is its main context.
pub(crate) async fn run(context: &UnitContext, when_ready: impl FnOnce()) -> End {
    let process = context.worker().process();
    let mut turns = Turns {
        context,
        worker: context.worker(),
        requests: FuturesUnordered::new(),
        serve: |request| unit_app::serve(&process.application, request, &process.options),
        look_for_memory: interval(LOOK_FOR_MEMORY),
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
    let is_idle = turns.requests.is_empty();
    // Requests that are left are cut off here: unitd does not wait for them.
    drop(turns);
    context.worker().notices.tell();
    if is_idle && end == End::Quit {
        // Those that take longer are cancelled with the runtime.
        let _ = tokio::time::timeout(FINISH, process.engine.idle()).await;
    }
    end
}

/// The state of a worker's loop.
struct Turns<'a, F, S> {
    context: &'a UnitContext,
    worker: &'a Rc<Worker>,
    requests: FuturesUnordered<F>,
    serve: S,
    look_for_memory: Interval,
}

impl<F, S> Turns<'_, F, S>
where
    F: Future<Output = ()>,
    S: Fn(Request) -> F,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let bell = self.worker.bell();
        let mut is_rung = bell.answer(cx);
        self.worker.notices.tell_late();
        if self.worker.has_writers() {
            while self.look_for_memory.poll_tick(cx).is_ready() {
                self.worker.memory_came();
            }
        }
        for _ in 0..TURNS {
            let mut progress = self.receive(&self.worker.own_port, false, cx);
            let is_full = self.requests.len() >= self.worker.process.requests_per_worker;
            if !is_full {
                let anyway = mem::take(&mut is_rung) || self.worker.look_again.take();
                progress |= self.receive(&self.worker.shared_port, anyway, cx);
            }
            while let Some(request) = self.worker.next_arrived() {
                self.requests.push((self.serve)(request));
            }
            if self.worker.ended.get() {
                return Poll::Ready(End::Quit);
            }
            if self.worker.failures.get() >= MAX_FAILURES {
                return Poll::Ready(End::Failed);
            }
            let mut is_busy = is_full;
            if !self.requests.is_empty() {
                let began = Instant::now();
                let next = Pin::new(&mut self.requests).poll_next(cx);
                progress |= matches!(next, Poll::Ready(Some(())));
                is_busy |= began.elapsed() >= BUSY;
            }
            if is_busy {
                // unitd says only once that there are requests, and this worker may have heard it.
                self.worker.process.ring_another();
            }
            if !progress {
                self.worker.notices.tell();
                bell.set_asleep(!is_busy);
                return Poll::Pending;
            }
            self.worker.notices.tell_late();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes a message from a port, if there is one; with `anyway`, whether or not the system says
    /// so. Otherwise the task is woken when there is one.
    fn receive(&self, port: &RefCell<Option<Watch>>, anyway: bool, cx: &mut Context<'_>) -> bool {
        // The callbacks may take the port from its place.
        let Some(watch) = port.borrow().clone() else {
            return false;
        };
        if anyway && self.take(&watch) != Received::Nothing {
            return true;
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

/// How workers wake each other.
#[derive(Default)]
pub(crate) struct Bell {
    /// Its worker has nothing to do.
    asleep: AtomicBool,
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Whether it has been rung since this was last asked. From here on it wakes the task of `cx`.
    fn answer(&self, cx: &Context<'_>) -> bool {
        self.asleep.store(false, Ordering::SeqCst);
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        self.rung.swap(false, Ordering::SeqCst)
    }

    fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::SeqCst);
    }

    /// Wakes its worker, if that sleeps.
    pub(crate) fn ring(&self) -> bool {
        if !self.asleep.swap(false, Ordering::SeqCst) {
            return false;
        }
        self.rung.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
        true
    }
}

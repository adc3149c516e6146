//! Instances that serve several requests at the same time, for applications that ask for it.
//!
//! ```text
//!   request ──run──▶ Ticket ◀──head, failure── Worker (a task) ── Instance
//!                      │                          ▲
//!                      └── another ──▶ offer ─────┘ as long as it takes more
//! ```
//!
//! An instance that nothing goes on in is no different from one that serves its requests one by
//! one: it waits with those, and the worker ends.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, mpsc, oneshot};
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::guest::Guest;
use crate::instance::{Head, HeadSlot, Instance, LINGER};
use crate::outgoing::Outgoing;
use crate::request::RequestBodyError;
use crate::run::{InProgress, Run, compute};
use crate::stopwatch::Stopwatch;
use crate::{Application, Failure, RequestId, gate, service};

/// The instances of one application that are at work.
#[derive(Default)]
pub(crate) struct Shared {
    workers: Mutex<Vec<Worker>>,
    /// A request has come to its end, so that its instance may take another.
    freed: Notify,
}

/// An instance at work, for those who bring it more.
struct Worker {
    number: u64,
    jobs: mpsc::UnboundedSender<Job>,
    /// Requests that it may still be given before it is destroyed.
    left: u32,
    in_progress: Arc<Mutex<u32>>,
}

/// A request for an instance.
struct Job {
    id: RequestId,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    lost: oneshot::Sender<Failure>,
}

/// What a request has of the instance that works on it.
pub(crate) struct Ticket {
    head: HeadSlot,
    /// `None` when it has come, or never will.
    head_comes: Option<oneshot::Receiver<Head>>,
    /// `None` when there is nothing more to be told.
    lost: Option<oneshot::Receiver<Failure>>,
    is_answered: bool,
}

impl Ticket {
    pub(crate) fn head(&self) -> &HeadSlot {
        &self.head
    }

    /// Waits for the response's head, then for the instance's end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Some(comes) = &mut self.head_comes
            && let Poll::Ready(head) = Pin::new(comes).poll(cx)
        {
            self.head_comes = None;
            if let Ok(head) = head {
                self.is_answered = true;
                self.head.set(head);
            }
        }
        let told = match &mut self.lost {
            Some(lost) => Pin::new(lost).poll(cx),
            None => Poll::Pending,
        };
        if told.is_ready() {
            self.lost = None;
        }
        match told {
            Poll::Ready(Ok(failure)) => Poll::Ready(Err(failure)),
            // The worker has nothing more to tell: the body says what became of it.
            Poll::Ready(Err(_)) if self.is_answered => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::NoResponse)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Gives a request to an instance that takes more, or to another one.
pub(crate) async fn run<B>(
    application: &Application,
    request: Request<B>,
    progress: InProgress,
) -> Result<Run, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    let (head, head_comes) = oneshot::channel();
    let (lost, is_lost) = oneshot::channel();
    let ticket = Ticket {
        head: HeadSlot::default(),
        head_comes: Some(head_comes),
        lost: Some(is_lost),
        is_answered: false,
    };
    let job = Job {
        id: progress.id,
        request: service::erased(request),
        head,
        lost,
    };
    let given = give(application, job, progress.id);
    match tokio::time::timeout(gate::WAIT, given).await {
        Ok(given) => given.map(|()| Run::join(ticket, progress)),
        Err(_) => Err(Failure::Busy),
    }
}

/// Whichever comes first: an instance at work that takes one more, or another instance.
async fn give(application: &Application, mut job: Job, id: RequestId) -> Result<(), Failure> {
    let inner = application.inner();
    let concurrency = inner.settings.instances.concurrency.get();
    loop {
        let freed = inner.shared.freed.notified();
        job = match inner.shared.offer(job, concurrency) {
            Some(job) => job,
            None => return Ok(()),
        };
        tokio::select! {
            biased;
            instance = inner.instance(id) => {
                start(application.clone(), instance?, job);
                return Ok(());
            }
            () = freed => {}
        }
    }
}

impl Shared {
    /// Gives the job to an instance at work; back if none takes it.
    fn offer(&self, mut job: Job, concurrency: u32) -> Option<Job> {
        for worker in self.lock().iter_mut().filter(|worker| worker.left > 0) {
            let mut in_progress = worker
                .in_progress
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if *in_progress >= concurrency {
                continue;
            }
            match worker.jobs.send(job) {
                Ok(()) => {
                    *in_progress += 1;
                    worker.left -= 1;
                    return None;
                }
                Err(mpsc::error::SendError(refused)) => job = refused,
            }
        }
        Some(job)
    }

    /// Whether an instance at work would take one more.
    pub(crate) fn has_room(&self, concurrency: u32) -> bool {
        let mut workers = self.lock();
        workers
            .iter_mut()
            .any(|worker| worker.left > 0 && *lock(&worker.in_progress) < concurrency)
    }

    fn remove(&self, number: u64) {
        self.lock().retain(|worker| worker.number != number);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Worker>> {
        lock(&self.workers)
    }
}

/// One request that an instance works on.
struct Open {
    body: Arc<Slot>,
    lost: oneshot::Sender<Failure>,
}

/// What the worker's two halves share: the one inside of the store, and the one around it.
struct Progress {
    open: Mutex<Vec<Open>>,
    /// Requests that have come since this was last asked, each of which may compute as long as any.
    fresh: AtomicU32,
}

impl Progress {
    /// Takes a request out of those in progress, when its call is over.
    fn remove(&self, slot: &Arc<Slot>) {
        lock(&self.open).retain(|open| !Arc::ptr_eq(&open.body, slot));
    }
}

fn start(application: Application, instance: Instance, first: Job) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (jobs, queue) = mpsc::unbounded_channel();
    let in_progress = Arc::new(Mutex::new(1));
    // Nobody else has the receiving end.
    let _ = jobs.send(first);
    let inner = application.inner();
    let reuse = inner.settings.instances.reuse.get();
    let worker = Worker {
        number,
        jobs,
        left: reuse.saturating_sub(instance.served()).saturating_sub(1),
        in_progress: Arc::clone(&in_progress),
    };
    inner.shared.lock().push(worker);
    tokio::spawn(async move {
        let work = Work {
            application: &application,
            number,
            in_progress: &in_progress,
            after_response: application.inner().settings.limits.after_response,
        };
        work.run(instance, queue).await;
    });
}

struct Work<'a> {
    application: &'a Application,
    number: u64,
    in_progress: &'a Mutex<u32>,
    after_response: Duration,
}

impl Work<'_> {
    async fn run(self, mut instance: Instance, queue: mpsc::UnboundedReceiver<Job>) {
        let queue = Mutex::new(queue);
        let inner = self.application.inner();
        let progress = Progress {
            open: Mutex::default(),
            fresh: AtomicU32::new(0),
        };
        let limit = inner.settings.limits.execution_timeout;
        let mut stopwatch = Stopwatch::default();
        let mut allowed = limit;
        let outcome = {
            let mut work = pin!(self.serve(&mut instance, &queue, &progress));
            let outcome = poll_fn(|cx| {
                // What those that are over have left to be computed is nobody's.
                let fresh = progress.fresh.swap(0, Ordering::Relaxed);
                let requests = fresh.max(1).max(lock(&progress.open).len() as u32);
                let most = stopwatch
                    .computed()
                    .saturating_add(limit.saturating_mul(requests));
                allowed = allowed
                    .saturating_add(limit.saturating_mul(fresh))
                    .min(most);
                match compute(inner, &mut stopwatch, allowed, || work.as_mut().poll(cx)) {
                    Ok(poll) => poll,
                    Err(failure) => Poll::Ready(Err(failure)),
                }
            })
            .await;
            inner.shared.remove(self.number);
            inner.shared.freed.notify_waiters();
            // The store is still there, so that an unfinished body is told from a finished one.
            let is_sound = *outcome.as_ref().unwrap_or(&false);
            self.close(&progress, &queue, outcome.err());
            is_sound
        };
        if outcome {
            inner.retire(instance);
        }
    }

    /// Serves until nothing goes on in the instance; `true` if it may be used again.
    async fn serve(
        &self,
        instance: &mut Instance,
        queue: &Mutex<mpsc::UnboundedReceiver<Job>>,
        progress: &Progress,
    ) -> Result<bool, Failure> {
        let inner = self.application.inner();
        let (store, service, served) = instance.shared(inner).await?;
        let ran = store
            .run_concurrent(async |accessor| {
                let mut calls: FuturesUnordered<Call<'_>> = FuturesUnordered::new();
                let mut is_sound = true;
                let mut ending = pin!(None::<tokio::time::Sleep>);
                let mut standstill = pin!(None::<tokio::time::Sleep>);
                poll_fn(|cx| {
                    loop {
                        match calls.poll_next_unpin(cx) {
                            Poll::Ready(Some(Ok(was_answered))) => {
                                *lock(self.in_progress) -= 1;
                                inner.shared.freed.notify_waiters();
                                if !was_answered {
                                    is_sound = false;
                                    inner.shared.remove(self.number);
                                }
                                continue;
                            }
                            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                            Poll::Ready(None) | Poll::Pending => {}
                        }
                        if let Poll::Ready(Some(job)) = lock(queue).poll_recv(cx) {
                            *served = served.saturating_add(1);
                            progress.fresh.fetch_add(1, Ordering::Relaxed);
                            ending.set(None);
                            calls.push(Box::pin(call(accessor, service, job, progress)));
                            continue;
                        }
                        let is_quiet = accessor.poll_no_interesting_tasks(cx).is_ready();
                        if !is_quiet {
                            standstill.set(None);
                        }
                        if is_quiet && !calls.is_empty() {
                            // Nobody but the host is left who could finish these bodies.
                            if standstill.is_none() {
                                standstill.set(Some(tokio::time::sleep(LINGER)));
                            }
                            if let Some(over) = standstill.as_mut().as_pin_mut()
                                && over.poll(cx).is_ready()
                            {
                                standstill.set(None);
                                for open in lock(&progress.open).iter() {
                                    open.body.give_up(cx);
                                }
                                cx.waker().wake_by_ref();
                            }
                        }
                        if !calls.is_empty() {
                            return Poll::Pending;
                        }
                        if is_quiet && self.leave(queue) {
                            return Poll::Ready(wasmtime::error::Ok(is_sound));
                        }
                        if is_quiet {
                            // There is a job, which this task's turn may not have sufficed to take.
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        if !is_sound && self.leave(queue) {
                            // Nobody waits for what still goes on.
                            return Poll::Ready(Ok(false));
                        }
                        if ending.is_none() {
                            ending.set(Some(tokio::time::sleep(self.after_response)));
                        }
                        if let Some(ending) = ending.as_mut().as_pin_mut()
                            && ending.poll(cx).is_ready()
                        {
                            if self.leave(queue) {
                                tracing::warn!(
                                    application = self.application.name(),
                                    "the guest was still at work {} seconds after its last \
                                     response, and is cancelled",
                                    self.after_response.as_secs_f64()
                                );
                                return Poll::Ready(Ok(false));
                            }
                            // Another request has come just now.
                            cx.waker().wake_by_ref();
                        }
                        return Poll::Pending;
                    }
                })
                .await
            })
            .await;
        ran.flatten().map_err(Failure::of_guest)
    }

    /// Takes the worker out of the list, unless there is more to do.
    fn leave(&self, queue: &Mutex<mpsc::UnboundedReceiver<Job>>) -> bool {
        // Jobs are sent while the list is locked.
        let mut workers = self.application.inner().shared.lock();
        if !lock(queue).is_empty() {
            return false;
        }
        workers.retain(|worker| worker.number != self.number);
        true
    }

    /// Tells all that still wait that the instance is over.
    fn close(
        &self,
        progress: &Progress,
        queue: &Mutex<mpsc::UnboundedReceiver<Job>>,
        failure: Option<Failure>,
    ) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting = Vec::new();
        for open in lock(&progress.open).drain(..) {
            open.body.end(failure.as_ref(), &mut cx);
            waiting.push(open.lost);
        }
        let mut queue = lock(queue);
        queue.close();
        while let Ok(job) = queue.try_recv() {
            waiting.push(job.lost);
        }
        let Some(failure) = failure else {
            return;
        };
        waiting.retain(|lost| !lost.is_closed());
        if waiting.len() == 1
            && let Some(lost) = waiting.pop()
        {
            // It is its own failure, and told as that.
            let _ = lost.send(failure);
            return;
        }
        let is_made = !matches!(failure, Failure::Busy | Failure::Instantiate(_));
        let number = waiting.len();
        tracing::error!(
            application = self.application.name(),
            "an instance is lost, with {number} requests: {failure}"
        );
        for lost in waiting {
            let _ = lost.send(if is_made {
                Failure::Lost
            } else {
                Failure::Busy
            });
        }
    }
}

type Call<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + 'a>>;

/// One call of the guest, until its response has been read. `false` if nobody waited for it to
/// answer: it may be at work for ever. A call that fails stays among those in progress, for
/// [`Work::close`] to tell.
async fn call(
    accessor: &Accessor<Guest>,
    service: &Service,
    job: Job,
    progress: &Progress,
) -> wasmtime::Result<bool> {
    let Job {
        id,
        request,
        mut head,
        lost,
    } = job;
    let request = accessor.with(|mut store| {
        store.data_mut().serve_next(id);
        service::tell(store.data_mut(), request)
    });
    let slot = Arc::new(Slot::default());
    lock(&progress.open).push(Open {
        body: Arc::clone(&slot),
        lost,
    });
    let answer = {
        let mut answer = pin!(service::answer(accessor, service, request));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => head.poll_closed(cx).map(|()| None),
        })
        .await
    };
    let Some(answer) = answer else {
        progress.remove(&slot);
        return Ok(false);
    };
    match answer? {
        Err(code) => {
            let _ = head.send(Err(code));
        }
        Ok(response) => {
            let (over, is_over) = oneshot::channel();
            let response = response.map(|body| {
                slot.fill(body);
                let slot = Arc::clone(&slot);
                Reader { slot, _over: over }.boxed_unsync()
            });
            let _ = head.send(Ok(response));
            // Its sender is dropped with the reader.
            let _ = is_over.await;
        }
    }
    progress.remove(&slot);
    Ok(true)
}

/// A response's body between the worker, which knows when its guest ends, and its reader.
#[derive(Default)]
struct Slot(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    body: Option<Outgoing>,
    /// The reader waits for the next frame.
    reader: Option<Waker>,
    /// It has had one since this was last asked.
    moved: bool,
}

impl Slot {
    fn fill(&self, body: WasiBody) {
        lock(&self.0).body = Some(Outgoing::new(body));
    }

    /// The guest has ended, with all that the host does for it.
    fn end(&self, failure: Option<&Failure>, cx: &mut Context<'_>) {
        let mut contents = lock(&self.0);
        let Some(body) = contents.body.as_mut().filter(|body| body.is_open()) else {
            return;
        };
        if !body.settle(failure, cx) {
            body.abandon();
        }
        // Its own waker was replaced by this one.
        if let Some(reader) = contents.reader.take() {
            reader.wake();
        }
    }
}

impl Slot {
    /// Ends the body if its reader has waited in vain since this was last called.
    fn give_up(&self, cx: &mut Context<'_>) {
        let (waits, moved) = {
            let mut contents = lock(&self.0);
            (
                contents.reader.is_some(),
                std::mem::take(&mut contents.moved),
            )
        };
        if waits && !moved {
            self.end(None, cx);
        }
    }
}

struct Reader {
    slot: Arc<Slot>,
    /// Dropped, the call is over.
    _over: oneshot::Sender<()>,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut contents = lock(&self.slot.0);
        let Some(body) = &mut contents.body else {
            return Poll::Ready(None);
        };
        let frame = body.poll(cx);
        contents.reader = frame.is_pending().then(|| cx.waker().clone());
        contents.moved |= frame.is_ready();
        frame.map_err(|_| Error::HttpProtocolError)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The task of a shared instance: it gives the guest its requests while any is in progress. Which worker gets a
//! request is decided by [`Workers`](crate::sandbox::workers::Workers).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::Response;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;

use crate::engine::background::OffloadedGuest;
use crate::engine::instance::Instance;
use crate::run::cpu_limit::compute;
use crate::sandbox::LINGER;
use crate::sandbox::guest::Guest;
use crate::sandbox::p3;
use crate::sandbox::workers::{Job, WorkerHandle};
use crate::scheduling::round_robin::ServingTurn;
use crate::scheduling::stopwatch::Stopwatch;
use crate::shared::body::{SharedBody, SharedBodyReader};
use crate::{Application, Failure};

/// A request that the instance works on.
struct OpenCall {
    body: Arc<SharedBody>,
    failed: oneshot::Sender<Failure>,
}

/// Shared by the two halves of the worker: the one that runs inside of the store, and the one around it.
struct OpenCalls {
    open: Mutex<Vec<OpenCall>>,
    /// Requests that have arrived since the last turn. Each adds its CPU budget.
    fresh: AtomicU32,
}

impl OpenCalls {
    /// Removes a call that has ended.
    fn remove(&self, body: &Arc<SharedBody>) {
        (self.open.lock()).retain(|open| !Arc::ptr_eq(&open.body, body));
    }

    /// Ends the bodies that have made no progress since the last call.
    fn end_stalled(&self, cx: &mut Context<'_>) {
        for open in self.open.lock().iter() {
            open.body.end_if_stalled(cx);
        }
    }
}

/// Starts a worker: gives an instance its first request, and those that it gets while it is at work.
pub(super) fn start(application: Application, instance: Instance, first: Job) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (jobs, queue) = mpsc::unbounded_channel();
    let in_progress = Arc::new(Mutex::new(1));
    // The receiver is below.
    let _ = jobs.send(first);
    let inner = application.inner();
    let reuse = inner.settings().instances.reuse.get();
    let worker = WorkerHandle {
        number,
        jobs,
        left: reuse.saturating_sub(instance.served()).saturating_sub(1),
        in_progress: Arc::clone(&in_progress),
    };
    inner.workers.add(worker);
    let background = inner.engine.background().filter(|_| inner.cpu.is_heavy());
    let background = background.cloned();
    let offloaded = background.as_ref().map(|it| it.guest(&inner.cpu));
    let task = async move {
        let work = WorkerTask {
            application: &application,
            number,
            in_progress: &in_progress,
            after_response: application.settings().limits.after_response,
            offloaded,
        };
        work.run(instance, queue).await;
    };
    match background {
        Some(background) => drop(background.spawn(task)),
        None => drop(tokio::spawn(task)),
    }
}

struct WorkerTask<'a> {
    application: &'a Application,
    number: u64,
    in_progress: &'a Mutex<u32>,
    after_response: Duration,
    /// Where it runs in the background.
    offloaded: Option<OffloadedGuest>,
}

impl WorkerTask<'_> {
    async fn run(self, mut instance: Instance, queue: mpsc::UnboundedReceiver<Job>) {
        let queue = Mutex::new(queue);
        let inner = self.application.inner();
        let calls = OpenCalls {
            open: Mutex::default(),
            fresh: AtomicU32::new(0),
        };
        let limit = inner.settings().limits.execution_timeout;
        let mut stopwatch = Stopwatch::default();
        let mut turn = ServingTurn::default();
        let mut allowed = limit;
        let outcome = {
            let mut work = pin!(self.serve(&mut instance, &queue, &calls));
            let outcome = poll_fn(|cx| {
                // The unused CPU budget of finished requests is discarded: `allowed` is never more than the
                // budgets of the requests in progress.
                let fresh = calls.fresh.swap(0, Ordering::Relaxed);
                let requests = fresh.max(1).max(calls.open.lock().len() as u32);
                let most = stopwatch
                    .computed()
                    .saturating_add(limit.saturating_mul(requests));
                allowed = allowed
                    .saturating_add(limit.saturating_mul(fresh))
                    .min(most);
                let mut poll = |cx: &mut Context<'_>, stopwatch: &mut Stopwatch| {
                    let polled = compute(inner, stopwatch, allowed, || work.as_mut().poll(cx));
                    polled.map(Result::flatten)
                };
                if let Some(offloaded) = &self.offloaded {
                    return offloaded.poll(cx, &mut stopwatch, poll);
                }
                ready!(turn.poll_begin(&inner.cpu, cx));
                let polled = poll(cx, &mut stopwatch);
                turn.finish(&inner.cpu, &mut stopwatch);
                polled
            })
            .await;
            inner.workers.remove(self.number);
            // While the store exists: only then can the end of an unfinished body be distinguished from that of
            // a finished one.
            let is_sound = *outcome.as_ref().unwrap_or(&false);
            self.close(&calls, &queue, outcome.err());
            is_sound
        };
        if outcome {
            inner.retire(instance);
        }
    }

    /// Serves until nothing is in progress in the instance; `true` if it may be reused.
    async fn serve(
        &self,
        instance: &mut Instance,
        queue: &Mutex<mpsc::UnboundedReceiver<Job>>,
        open: &OpenCalls,
    ) -> Result<bool, Failure> {
        let world = &self.application.inner().component.world;
        let (store, service, served) = instance.shared(world).await?;
        let ran = store
            .run_concurrent(async |accessor| {
                let mut calls: FuturesUnordered<Call<'_>> = FuturesUnordered::new();
                let mut is_sound = true;
                let mut ending = pin!(None);
                let mut stalled = pin!(None);
                poll_fn(|cx| {
                    loop {
                        match calls.poll_next_unpin(cx) {
                            Poll::Ready(Some(Ok(was_answered))) => {
                                is_sound &= was_answered;
                                self.finish(was_answered);
                                continue;
                            }
                            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                            Poll::Ready(None) | Poll::Pending => {}
                        }
                        if let Poll::Ready(Some(job)) = queue.lock().poll_recv(cx) {
                            *served = served.saturating_add(1);
                            open.fresh.fetch_add(1, Ordering::Relaxed);
                            ending.set(None);
                            calls.push(Box::pin(call(accessor, service, job, open)));
                            continue;
                        }
                        break;
                    }
                    let is_quiet = accessor.poll_no_interesting_tasks(cx).is_ready();
                    if !is_quiet {
                        stalled.set(None);
                    }
                    if !calls.is_empty() {
                        // The guest has no tasks left: only the host could still finish these bodies.
                        if is_quiet && has_passed(&mut stalled, LINGER, cx) {
                            open.end_stalled(cx);
                            cx.waker().wake_by_ref();
                        }
                        return Poll::Pending;
                    }
                    // What is still in progress in an instance that is not to be reused is not waited for.
                    let is_over = is_quiet || !is_sound;
                    if !is_over && !has_passed(&mut ending, self.after_response, cx) {
                        return Poll::Pending;
                    }
                    if !self.leave(queue) {
                        // A job has arrived. tokio's cooperative budget may have kept this poll from taking it.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if !is_over {
                        tracing::warn!(
                            application = self.application.name(),
                            "the guest was still at work {} seconds after its last response: the \
                             instance is cancelled",
                            self.after_response.as_secs_f64()
                        );
                    }
                    Poll::Ready(wasmtime::error::Ok(is_over && is_sound))
                })
                .await
            })
            .await;
        ran.flatten().map_err(Failure::of_guest)
    }

    /// Counts a call that has ended. An instance that has left a request without an answer gets no more.
    fn finish(&self, was_answered: bool) {
        let inner = self.application.inner();
        let workers = &inner.workers;
        if !was_answered {
            workers.remove(self.number);
        }
        *self.in_progress.lock() -= 1;
        if was_answered {
            workers.give_waiting(inner.settings().instances.concurrency.get());
        }
    }

    /// Removes the worker from the list; `false` if it has got another job.
    fn leave(&self, queue: &Mutex<mpsc::UnboundedReceiver<Job>>) -> bool {
        // Under the lock of the list, under which jobs are sent.
        let mut workers = self.application.inner().workers.lock();
        if !queue.lock().is_empty() {
            return false;
        }
        workers.remove(self.number);
        true
    }

    /// Ends all requests of the instance: first their failure, then their bodies, so that the reader of a body
    /// that is cut off finds the reason.
    fn close(
        &self,
        open: &OpenCalls,
        queue: &Mutex<mpsc::UnboundedReceiver<Job>>,
        failure: Option<Failure>,
    ) {
        let (bodies, mut waiting): (Vec<_>, Vec<_>) = (open.open.lock())
            .drain(..)
            .map(|call| (call.body, call.failed))
            .unzip();
        let mut queue = queue.lock();
        queue.close();
        while let Ok(job) = queue.try_recv() {
            waiting.push(job.failed);
        }
        let kind = failure.as_ref().map(Failure::kind);
        if let Some(failure) = failure {
            self.fail(waiting, failure);
        }
        let mut cx = Context::from_waker(Waker::noop());
        for body in bodies {
            body.end(kind, &mut cx);
        }
    }

    /// Fails the requests of the instance. A single one gets the failure itself; of several it is not known
    /// whose fault it was.
    fn fail(&self, mut waiting: Vec<oneshot::Sender<Failure>>, failure: Failure) {
        waiting.retain(|failed| !failed.is_closed());
        if waiting.len() == 1
            && let Some(failed) = waiting.pop()
        {
            let _ = failed.send(failure);
            return;
        }
        let is_made = !matches!(failure, Failure::Busy | Failure::Instantiate(_));
        let number = waiting.len();
        self.application.inner().counters.failed(&failure);
        tracing::error!(
            application = self.application.name(),
            "an instance failed while it served {number} requests, which fail with it: {failure}"
        );
        for failed in waiting {
            let _ = failed.send(if is_made {
                Failure::Lost
            } else {
                Failure::Busy
            });
        }
    }
}

type Call<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + 'a>>;

/// One call of the guest, until its response has been read. `false` if its request was cancelled before the
/// response: the guest may be at work on it for ever. A call that fails stays in `open`, for
/// [`WorkerTask::close`].
async fn call(
    accessor: &Accessor<Guest>,
    service: &Service,
    job: Job,
    open: &OpenCalls,
) -> wasmtime::Result<bool> {
    let Job {
        id,
        request,
        mut head,
        failed,
    } = job;
    let request = accessor.with(|mut store| {
        store.data_mut().serve_next(id);
        p3::request_resource(store.data_mut(), request)
    });
    let body = Arc::new(SharedBody::default());
    open.open.lock().push(OpenCall {
        body: Arc::clone(&body),
        failed,
    });
    let answer = {
        let mut answer = pin!(p3::answer(accessor, service, request));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => head.poll_closed(cx).map(|()| None),
        })
        .await
    };
    let Some(answer) = answer else {
        open.remove(&body);
        return Ok(false);
    };
    match answer? {
        Err(code) => {
            let _ = head.send(Err(code));
        }
        Ok(response) => {
            let (ended, has_ended) = oneshot::channel();
            let (parts, content) = response.into_parts();
            body.fill(&parts.headers, content);
            let reader = SharedBodyReader {
                body: Arc::clone(&body),
                _ended: ended,
            };
            let response = Response::from_parts(parts, reader.boxed_unsync());
            let _ = head.send(Ok(response));
            // Resolves when the reader is dropped.
            let _ = has_ended.await;
        }
    }
    open.remove(&body);
    Ok(true)
}

/// Whether so much time has passed since the first call, or since the last that returned `true`.
fn has_passed(timer: &mut Pin<&mut Option<Sleep>>, length: Duration, cx: &mut Context<'_>) -> bool {
    if timer.is_none() {
        timer.set(Some(tokio::time::sleep(length)));
    }
    let sleep = timer.as_mut().as_pin_mut();
    let has_passed = sleep.is_some_and(|sleep| sleep.poll(cx).is_ready());
    if has_passed {
        timer.set(None);
    }
    has_passed
}

//! The task around an instance that serves several requests at the same time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::Response;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;

use super::body::{Reader, Slot};
use super::{Job, Worker, lock};
use crate::run::compute;
use crate::run::offload::Away;
use crate::sandbox::guest::Guest;
use crate::sandbox::p3;
use crate::sandbox::{Instance, LINGER};
use crate::scheduling::round_robin::ServingTurn;
use crate::scheduling::stopwatch::Stopwatch;
use crate::{Application, Failure};

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

    /// Ends the bodies that stand still.
    fn give_up(&self, cx: &mut Context<'_>) {
        for open in lock(&self.open).iter() {
            open.body.give_up(cx);
        }
    }
}

/// Gives an instance its first request, and all that come while it is at work.
pub(super) fn start(application: Application, instance: Instance, first: Job) {
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
    inner.shared.add(worker);
    let background = inner.engine.background().filter(|_| inner.cpu.is_heavy());
    let background = background.cloned();
    let away = background.as_ref().map(|it| it.away(&application));
    let task = async move {
        let work = Work {
            application: &application,
            number,
            in_progress: &in_progress,
            after_response: application.inner().settings.limits.after_response,
            away,
        };
        work.run(instance, queue).await;
    };
    match background {
        Some(background) => drop(background.spawn(task)),
        None => drop(tokio::spawn(task)),
    }
}

struct Work<'a> {
    application: &'a Application,
    number: u64,
    in_progress: &'a Mutex<u32>,
    after_response: Duration,
    /// Where it is in the background.
    away: Option<Away>,
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
        let mut turn = ServingTurn::default();
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
                let mut poll = |cx: &mut Context<'_>, stopwatch: &mut Stopwatch| {
                    let polled = compute(inner, stopwatch, allowed, || work.as_mut().poll(cx));
                    polled.map(Result::flatten)
                };
                if let Some(away) = &self.away {
                    return away.poll(cx, &mut stopwatch, poll);
                }
                ready!(turn.poll_begin(&inner.cpu, cx));
                let polled = poll(cx, &mut stopwatch);
                turn.finish(&inner.cpu, &mut stopwatch);
                polled
            })
            .await;
            inner.shared.remove(self.number);
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
                let mut ending = pin!(None);
                let mut standstill = pin!(None);
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
                        if let Poll::Ready(Some(job)) = lock(queue).poll_recv(cx) {
                            *served = served.saturating_add(1);
                            progress.fresh.fetch_add(1, Ordering::Relaxed);
                            ending.set(None);
                            calls.push(Box::pin(call(accessor, service, job, progress)));
                            continue;
                        }
                        break;
                    }
                    let is_quiet = accessor.poll_no_interesting_tasks(cx).is_ready();
                    if !is_quiet {
                        standstill.set(None);
                    }
                    if !calls.is_empty() {
                        // Nobody but the host is left who could finish these bodies.
                        if is_quiet && has_passed(&mut standstill, LINGER, cx) {
                            progress.give_up(cx);
                            cx.waker().wake_by_ref();
                        }
                        return Poll::Pending;
                    }
                    // Nobody waits for what goes on in an instance that is not to be used again.
                    let is_over = is_quiet || !is_sound;
                    if !is_over && !has_passed(&mut ending, self.after_response, cx) {
                        return Poll::Pending;
                    }
                    if !self.leave(queue) {
                        // There is a job, which this task's turn may not have sufficed to take.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if !is_over {
                        tracing::warn!(
                            application = self.application.name(),
                            "the guest was still at work {} seconds after its last response, and \
                             is cancelled",
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

    /// A call is over. An instance that has left its client without an answer gets no more.
    fn finish(&self, was_answered: bool) {
        let inner = self.application.inner();
        let shared = &inner.shared;
        if !was_answered {
            shared.remove(self.number);
        }
        *lock(self.in_progress) -= 1;
        if was_answered {
            shared.give_waiting(inner.settings.instances.concurrency.get());
        }
    }

    /// Takes the worker out of the list, unless there is more to do.
    fn leave(&self, queue: &Mutex<mpsc::UnboundedReceiver<Job>>) -> bool {
        // Jobs are sent while the list is locked.
        let mut shared = self.application.inner().shared.lock();
        if !lock(queue).is_empty() {
            return false;
        }
        shared.remove(self.number);
        true
    }

    /// Tells all that still wait that the instance is over, then ends their bodies: whoever finds a
    /// body cut off is to know why.
    fn close(
        &self,
        progress: &Progress,
        queue: &Mutex<mpsc::UnboundedReceiver<Job>>,
        failure: Option<Failure>,
    ) {
        let (bodies, mut waiting): (Vec<_>, Vec<_>) = lock(&progress.open)
            .drain(..)
            .map(|open| (open.body, open.lost))
            .unzip();
        let mut queue = lock(queue);
        queue.close();
        while let Ok(job) = queue.try_recv() {
            waiting.push(job.lost);
        }
        let kind = failure.as_ref().map(Failure::kind);
        if let Some(failure) = failure {
            self.tell(waiting, failure);
        }
        let mut cx = Context::from_waker(Waker::noop());
        for body in bodies {
            body.end(kind, &mut cx);
        }
    }

    fn tell(&self, mut waiting: Vec<oneshot::Sender<Failure>>, failure: Failure) {
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
        self.application.inner().counters.failed(&failure);
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
        p3::tell(store.data_mut(), request)
    });
    let slot = Arc::new(Slot::default());
    lock(&progress.open).push(Open {
        body: Arc::clone(&slot),
        lost,
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
        progress.remove(&slot);
        return Ok(false);
    };
    match answer? {
        Err(code) => {
            let _ = head.send(Err(code));
        }
        Ok(response) => {
            let (over, is_over) = oneshot::channel();
            let (parts, body) = response.into_parts();
            slot.fill(&parts.headers, body);
            let reader = Reader {
                slot: Arc::clone(&slot),
                _over: over,
            };
            let response = Response::from_parts(parts, reader.boxed_unsync());
            let _ = head.send(Ok(response));
            // Its sender is dropped with the reader.
            let _ = is_over.await;
        }
    }
    progress.remove(&slot);
    Ok(true)
}

/// Whether so much time has passed since this was first asked, or since it was last so.
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

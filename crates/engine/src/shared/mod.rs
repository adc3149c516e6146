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

mod body;
mod worker;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_http::WasiBody;

use crate::engine::wait::WAIT;
use crate::run::{InProgress, Run};
use crate::sandbox::p3;
use crate::sandbox::request::RequestBodyError;
use crate::sandbox::{Head, HeadSlot};
use crate::{Application, Failure, RequestId};

/// The instances of one application that are at work, and the requests that wait for one to take more.
#[derive(Default)]
pub(crate) struct Shared(Mutex<SharedState>);

#[derive(Default)]
struct SharedState {
    workers: Vec<Worker>,
    /// In the order in which they came. Only while no worker takes more.
    waiting: VecDeque<WaitingJob>,
    /// Of the next that waits.
    number: u64,
}

/// A request that no instance at work takes.
struct WaitingJob {
    number: u64,
    job: Job,
    given: oneshot::Sender<()>,
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

    /// How the instance has failed, if it has and that was not told before.
    pub(crate) fn told(&mut self) -> Option<Failure> {
        self.lost.take()?.try_recv().ok()
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
        request: p3::erased(request),
        head,
        lost,
    };
    let wait = WAIT.min(application.inner().settings.limits.timeout);
    let given = give(application, job, progress.id);
    match tokio::time::timeout(wait, given).await {
        Ok(given) => given.map(|()| Run::join(ticket, progress)),
        Err(_) => Err(Failure::Busy),
    }
}

/// Whichever comes first: an instance at work that takes one more, or another instance.
async fn give(application: &Application, job: Job, id: RequestId) -> Result<(), Failure> {
    let inner = application.inner();
    let concurrency = inner.settings.instances.concurrency.get();
    let Some(mut place) = inner.shared.offer(job, concurrency) else {
        return Ok(());
    };
    let instance = tokio::select! {
        biased;
        // Its sender is not dropped while the request waits.
        _ = &mut place.given => return Ok(()),
        instance = inner.instance(id) => instance,
    };
    match (place.take(), instance) {
        (Some(job), Ok(instance)) => {
            worker::start(application.clone(), instance, job);
            // It may take several.
            inner.shared.give_waiting(concurrency);
            Ok(())
        }
        (Some(_), Err(failure)) => Err(failure),
        // An instance at work has taken it in this very moment.
        (None, instance) => {
            if let Ok(instance) = instance {
                inner.retire(instance);
            }
            Ok(())
        }
    }
}

/// The place of a request that waits until an instance at work takes it. Dropped, it waits no more.
struct PlaceInQueue<'a> {
    shared: &'a Shared,
    number: u64,
    given: oneshot::Receiver<()>,
}

impl PlaceInQueue<'_> {
    /// Takes the request back; `None` if it has been given to an instance.
    fn take(&self) -> Option<Job> {
        let waiting = &mut self.shared.lock().waiting;
        // They are in the order of their numbers.
        let index = waiting
            .binary_search_by_key(&self.number, |it| it.number)
            .ok()?;
        waiting.remove(index).map(|it| it.job)
    }
}

impl Drop for PlaceInQueue<'_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Shared {
    /// Gives the job to an instance at work. Where none takes it, or others wait, it has to wait.
    fn offer(&self, job: Job, concurrency: u32) -> Option<PlaceInQueue<'_>> {
        let mut state = self.lock();
        let job = if state.waiting.is_empty() {
            state.give(job, concurrency)?
        } else {
            job
        };
        let (given, comes) = oneshot::channel();
        let number = state.number;
        state.number += 1;
        state.waiting.push_back(WaitingJob { number, job, given });
        Some(PlaceInQueue {
            shared: self,
            number,
            given: comes,
        })
    }

    /// Gives requests that wait to instances at work, as many as these take: one of them may take more now.
    fn give_waiting(&self, concurrency: u32) {
        let mut state = self.lock();
        while let Some(WaitingJob { number, job, given }) = state.waiting.pop_front() {
            if let Some(job) = state.give(job, concurrency) {
                let waiting = WaitingJob { number, job, given };
                state.waiting.push_front(waiting);
                return;
            }
            // It may give up in this very moment.
            let _ = given.send(());
        }
    }

    /// Whether an instance at work would take one more.
    pub(crate) fn has_room(&self, concurrency: u32) -> bool {
        let state = self.lock();
        let mut workers = state.workers.iter();
        state.waiting.is_empty() && workers.any(|worker| worker.has_room(concurrency))
    }

    fn add(&self, worker: Worker) {
        self.lock().workers.push(worker);
    }

    fn remove(&self, number: u64) {
        self.lock().remove(number);
    }

    fn lock(&self) -> MutexGuard<'_, SharedState> {
        lock(&self.0)
    }
}

impl SharedState {
    /// Gives the job to an instance at work; back if none takes it.
    fn give(&mut self, mut job: Job, concurrency: u32) -> Option<Job> {
        let free = (self.workers.iter_mut()).filter(|worker| worker.has_room(concurrency));
        for worker in free {
            match worker.jobs.send(job) {
                Ok(()) => {
                    *lock(&worker.in_progress) += 1;
                    worker.left -= 1;
                    return None;
                }
                Err(mpsc::error::SendError(refused)) => job = refused,
            }
        }
        Some(job)
    }

    fn remove(&mut self, number: u64) {
        self.workers.retain(|worker| worker.number != number);
    }
}

impl Worker {
    /// Whether it takes one more. Its requests only become fewer by themselves.
    fn has_room(&self, concurrency: u32) -> bool {
        self.left > 0 && *lock(&self.in_progress) < concurrency
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};

    use super::*;

    fn job() -> (RequestId, Job) {
        let id = RequestId::next();
        let body = Empty::new().map_err(|never| match never {});
        let job = Job {
            id,
            request: Request::new(body.boxed_unsync()),
            head: oneshot::channel().0,
            lost: oneshot::channel().0,
        };
        (id, job)
    }

    fn worker(left: u32, in_progress: u32) -> (Worker, mpsc::UnboundedReceiver<Job>) {
        let (jobs, given) = mpsc::unbounded_channel();
        let worker = Worker {
            number: 0,
            jobs,
            left,
            in_progress: Arc::new(Mutex::new(in_progress)),
        };
        (worker, given)
    }

    fn given(jobs: &mut mpsc::UnboundedReceiver<Job>) -> Vec<RequestId> {
        std::iter::from_fn(|| jobs.try_recv().ok())
            .map(|job| job.id)
            .collect()
    }

    #[test]
    fn requests_are_given_to_instances_in_the_order_in_which_they_came() {
        let shared = Shared::default();
        let (worker, mut jobs) = worker(100, 2);
        let in_progress = Arc::clone(&worker.in_progress);
        shared.add(worker);
        let (ids, waiting): (Vec<_>, Vec<_>) = std::iter::repeat_with(|| {
            let (id, job) = job();
            (id, shared.offer(job, 2).unwrap())
        })
        .take(3)
        .unzip();
        // A call is over; a request that comes before the others have noticed does not go first.
        *lock(&in_progress) -= 1;
        assert!(!shared.has_room(2));
        let (last, job) = job();
        let newcomer = shared.offer(job, 2).unwrap();
        shared.give_waiting(2);
        assert_eq!(given(&mut jobs), ids[..1]);
        *lock(&in_progress) -= 1;
        shared.give_waiting(2);
        assert_eq!(given(&mut jobs), ids[1..2]);
        drop(waiting);
        *lock(&in_progress) -= 1;
        shared.give_waiting(2);
        assert_eq!(given(&mut jobs), [last]);
        assert!(newcomer.take().is_none());
    }

    #[test]
    fn a_request_that_waits_no_more_is_given_to_no_instance() {
        let shared = Shared::default();
        let (_, job) = job();
        let place = shared.offer(job, 1).unwrap();
        assert!(place.take().is_some());
        assert!(place.take().is_none());
        let (_, gone) = self::job();
        drop(shared.offer(gone, 1));
        let (worker, mut jobs) = worker(1, 0);
        shared.add(worker);
        shared.give_waiting(1);
        assert_eq!(given(&mut jobs), []);
        assert!(shared.has_room(1));
    }
}

//! The shared instances of one application that are at work, and the requests that wait for one of them: who
//! gets which request. What an instance does with its requests is in [`shared`](crate::shared).

use std::collections::VecDeque;
use std::sync::Arc;

use http::Request;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_http::WasiBody;

use crate::sandbox::head::Head;
use crate::{Failure, RequestId};

/// The workers of one application, and the requests that wait for one.
#[derive(Default)]
pub(crate) struct Workers(Mutex<WorkersState>);

#[derive(Default)]
pub(crate) struct WorkersState {
    workers: Vec<WorkerHandle>,
    /// First in, first out. Empty while any worker has room.
    waiting: VecDeque<QueuedJob>,
    /// The number of the next waiting request.
    number: u64,
}

/// A request that no worker has room for.
struct QueuedJob {
    number: u64,
    job: Job,
    given: oneshot::Sender<()>,
}

/// An instance at work, as the sender of its requests sees it.
pub(crate) struct WorkerHandle {
    pub(crate) number: u64,
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    /// Requests that it may still get before it is destroyed.
    pub(crate) left: u32,
    pub(crate) in_progress: Arc<Mutex<u32>>,
}

/// A request for a worker.
pub(crate) struct Job {
    pub(crate) id: RequestId,
    pub(crate) request: Request<WasiBody>,
    pub(crate) head: oneshot::Sender<Head>,
    /// Why the instance failed, where it does.
    pub(crate) failed: oneshot::Sender<Failure>,
}

/// The place of a waiting request in the queue. Dropping it removes the request from the queue.
pub(crate) struct QueuePlace<'a> {
    workers: &'a Workers,
    number: u64,
    /// Resolves when a worker has got the request.
    pub(crate) given: oneshot::Receiver<()>,
}

impl QueuePlace<'_> {
    /// Takes the request back; `None` if a worker has got it.
    pub(crate) fn take(&self) -> Option<Job> {
        let waiting = &mut self.workers.lock().waiting;
        // Sorted, since numbers ascend.
        let index = waiting
            .binary_search_by_key(&self.number, |it| it.number)
            .ok()?;
        waiting.remove(index).map(|it| it.job)
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Workers {
    /// Gives the job to a worker with room. Queues it if no worker has room, or others wait already.
    pub(crate) fn offer(&self, job: Job, concurrency: u32) -> Option<QueuePlace<'_>> {
        let mut state = self.lock();
        let job = if state.waiting.is_empty() {
            state.give(job, concurrency)?
        } else {
            job
        };
        let (given, was_given) = oneshot::channel();
        let number = state.number;
        state.number += 1;
        state.waiting.push_back(QueuedJob { number, job, given });
        Some(QueuePlace {
            workers: self,
            number,
            given: was_given,
        })
    }

    /// Gives waiting requests to workers while these have room. To be called when one may have room again.
    pub(crate) fn give_waiting(&self, concurrency: u32) {
        let mut state = self.lock();
        while let Some(QueuedJob { number, job, given }) = state.waiting.pop_front() {
            if let Some(job) = state.give(job, concurrency) {
                let queued = QueuedJob { number, job, given };
                state.waiting.push_front(queued);
                return;
            }
            // Fails if the request has stopped waiting at this moment.
            let _ = given.send(());
        }
    }

    /// Whether a worker has room for one more request.
    pub(crate) fn has_room(&self, concurrency: u32) -> bool {
        let state = self.lock();
        let mut workers = state.workers.iter();
        state.waiting.is_empty() && workers.any(|worker| worker.has_room(concurrency))
    }

    pub(crate) fn add(&self, worker: WorkerHandle) {
        self.lock().workers.push(worker);
    }

    pub(crate) fn remove(&self, number: u64) {
        self.lock().remove(number);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, WorkersState> {
        self.0.lock()
    }
}

impl WorkersState {
    /// Gives the job to a worker with room; returns it if no worker has room.
    fn give(&mut self, mut job: Job, concurrency: u32) -> Option<Job> {
        let free = (self.workers.iter_mut()).filter(|worker| worker.has_room(concurrency));
        for worker in free {
            // Counted first: the worker may be done with it before this thread continues.
            *worker.in_progress.lock() += 1;
            match worker.jobs.send(job) {
                Ok(()) => {
                    worker.left -= 1;
                    return None;
                }
                Err(mpsc::error::SendError(refused)) => {
                    *worker.in_progress.lock() -= 1;
                    job = refused;
                }
            }
        }
        Some(job)
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.workers.retain(|worker| worker.number != number);
    }
}

impl WorkerHandle {
    /// Whether it has room for one more request. `false` may be outdated: its requests may end at any moment.
    fn has_room(&self, concurrency: u32) -> bool {
        self.left > 0 && *self.in_progress.lock() < concurrency
    }
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
            failed: oneshot::channel().0,
        };
        (id, job)
    }

    fn worker(left: u32, in_progress: u32) -> (WorkerHandle, mpsc::UnboundedReceiver<Job>) {
        let (jobs, given) = mpsc::unbounded_channel();
        let worker = WorkerHandle {
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
    fn waiting_requests_are_given_to_instances_first_in_first_out() {
        let workers = Workers::default();
        let (worker, mut jobs) = worker(100, 2);
        let in_progress = Arc::clone(&worker.in_progress);
        workers.add(worker);
        let (ids, waiting): (Vec<_>, Vec<_>) = std::iter::repeat_with(|| {
            let (id, job) = job();
            (id, workers.offer(job, 2).unwrap())
        })
        .take(3)
        .unzip();
        // A call has ended; a request that arrives before the others have got the room does not overtake them.
        *in_progress.lock() -= 1;
        assert!(!workers.has_room(2));
        let (last, job) = job();
        let newcomer = workers.offer(job, 2).unwrap();
        workers.give_waiting(2);
        assert_eq!(given(&mut jobs), ids[..1]);
        *in_progress.lock() -= 1;
        workers.give_waiting(2);
        assert_eq!(given(&mut jobs), ids[1..2]);
        drop(waiting);
        *in_progress.lock() -= 1;
        workers.give_waiting(2);
        assert_eq!(given(&mut jobs), [last]);
        assert!(newcomer.take().is_none());
    }

    #[test]
    fn a_request_that_has_left_the_queue_is_given_to_no_instance() {
        let workers = Workers::default();
        let (_, job) = job();
        let place = workers.offer(job, 1).unwrap();
        assert!(place.take().is_some());
        assert!(place.take().is_none());
        let (_, gone) = self::job();
        drop(workers.offer(gone, 1));
        let (worker, mut jobs) = worker(1, 0);
        workers.add(worker);
        workers.give_waiting(1);
        assert_eq!(given(&mut jobs), []);
        assert!(workers.has_room(1));
    }
}

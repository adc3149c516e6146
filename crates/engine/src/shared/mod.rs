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

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::sync::{Notify, mpsc, oneshot};
use wasmtime_wasi_http::WasiBody;

use crate::instance::{Head, HeadSlot};
use crate::request::RequestBodyError;
use crate::run::{InProgress, Run};
use crate::waiting::WAIT;
use crate::{Application, Failure, RequestId, service};

/// The instances of one application that are at work.
#[derive(Default)]
pub(crate) struct Shared {
    workers: Mutex<Vec<Worker>>,
    /// Requests that no instance at work takes.
    waiting: AtomicUsize,
    /// An instance at work may take one more: one of them is told for each.
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
        request: service::erased(request),
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
async fn give(application: &Application, mut job: Job, id: RequestId) -> Result<(), Failure> {
    let inner = application.inner();
    let shared = &inner.shared;
    let concurrency = inner.settings.instances.concurrency.get();
    // Those that wait come first.
    if !shared.is_awaited() {
        job = match shared.offer(job, concurrency) {
            Some(job) => job,
            None => return Ok(()),
        };
    }
    let waiting = shared.begin_to_wait();
    // One place in the queue for an instance, for as long as it takes.
    let mut instance = pin!(inner.instance(id));
    loop {
        let freed = shared.freed.notified();
        job = match shared.offer(job, concurrency) {
            Some(job) => job,
            None => break,
        };
        tokio::select! {
            biased;
            instance = &mut instance => {
                worker::start(application.clone(), instance?, job);
                break;
            }
            () = freed => {}
        }
    }
    drop(waiting);
    // There may be room for others: this was told of one place, and a new instance has several.
    if shared.is_awaited() && shared.has_room(concurrency) {
        shared.freed.notify_one();
    }
    Ok(())
}

/// A request that waits until an instance takes it. Dropped, it waits no more.
struct WaitingRequest<'a>(&'a Shared);

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn begin_to_wait(&self) -> WaitingRequest<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        WaitingRequest(self)
    }

    /// An instance at work may take one more.
    fn free_one(&self) {
        // A request that begins to wait after this looks at the instances after that.
        if self.is_awaited() {
            self.freed.notify_one();
        }
    }

    /// Gives the job to an instance at work; back if none takes it.
    fn offer(&self, mut job: Job, concurrency: u32) -> Option<Job> {
        for worker in self.lock().iter_mut().filter(|worker| worker.left > 0) {
            let mut in_progress = lock(&worker.in_progress);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

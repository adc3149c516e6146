//! Instances that serve several requests at the same time, for applications that ask for it.
//!
//! ```text
//!   request ──dispatch──▶ Ticket ◀──head, failure── worker (a task) ── Instance
//!                           │                          ▲
//!                           └──── waits ──▶ Workers ───┘ while it has room
//! ```
//!
//! When an instance has no requests any more, its worker ends, and it is reused like any other. Who makes a run
//! of the ticket is not known here.

mod body;
mod worker;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::sync::oneshot;

use crate::engine::wait::WAIT;
use crate::run::ticket::Ticket;
use crate::sandbox::p3;
use crate::sandbox::request::RequestBodyError;
use crate::sandbox::workers::Job;
use crate::{Application, Failure, RequestId};

/// Gives a request to an instance at work that has room, or to another instance.
///
/// # Errors
///
/// When there is neither within a second or `limits.timeout`, or no instance can be made.
pub(crate) async fn dispatch<B>(
    application: &Application,
    request: Request<B>,
    id: RequestId,
) -> Result<Ticket, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    let (head, head_arrives) = oneshot::channel();
    let (failed, has_failed) = oneshot::channel();
    let ticket = Ticket::new(head_arrives, has_failed);
    let job = Job {
        id,
        request: p3::erased(request),
        head,
        failed,
    };
    let wait = WAIT.min(application.settings().limits.timeout);
    match tokio::time::timeout(wait, give(application, job, id)).await {
        Ok(given) => given.map(|()| ticket),
        Err(_) => Err(Failure::Busy),
    }
}

/// Whichever comes first: an instance at work that has room for one more, or another instance.
async fn give(application: &Application, job: Job, id: RequestId) -> Result<(), Failure> {
    let inner = application.inner();
    let concurrency = inner.settings().instances.concurrency.get();
    let Some(mut place) = inner.workers.offer(job, concurrency) else {
        return Ok(());
    };
    let instance = tokio::select! {
        biased;
        // The sender is not dropped while the request waits.
        _ = &mut place.given => return Ok(()),
        instance = inner.instance(id) => instance,
    };
    match (place.take(), instance) {
        (Some(job), Ok(instance)) => {
            worker::start(application.clone(), instance, job);
            // The new worker may have room for more.
            inner.workers.give_waiting(concurrency);
            Ok(())
        }
        (Some(_), Err(failure)) => Err(failure),
        // A worker has got the request at this very moment.
        (None, instance) => {
            if let Ok(instance) = instance {
                inner.retire(instance);
            }
            Ok(())
        }
    }
}

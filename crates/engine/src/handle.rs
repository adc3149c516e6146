//! One request, from its arrival to its response: concurrency limit → instance → run → response.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::time::timeout_at;

use crate::response::body::Body;
use crate::response::poll_response;
use crate::run::revocable_body::revocable;
use crate::run::{RequestInProgress, Run};
use crate::sandbox::request::RequestBodyError;
use crate::{Application, Failure, RequestId, shared};

impl Application {
    /// Runs the request in an instance, by default one of its own, and returns as soon as the guest has set its
    /// response; the body follows as the guest writes it.
    ///
    /// The guest sees the request's fields in their order, without hop-by-hop fields (RFC 9110, section 7.6.1)
    /// except `te`, which says whether the client accepts trailers.
    /// Its `scheme`, `authority` and `path-with-query` are the parts of the request's URI. A relative URI gets
    /// the scheme `http` and the authority of its `host` field, as [`guest_authority`](Self::guest_authority)
    /// says. An absolute URI is not changed; front ends that make it absolute themselves apply
    /// [`guest_authority`](Self::guest_authority), too.
    ///
    /// Dropping the future cancels the instance, and so does dropping the body before its end, unless other
    /// requests share the instance.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the guest has no response. It is logged and counted already; [`Failure::answer`] is
    /// what the client should get.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub async fn handle<B>(
        &self,
        id: RequestId,
        request: Request<B>,
    ) -> Result<Response<Body>, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let response = self.serve(id, request).await;
        let status = match &response {
            Ok(response) => response.status(),
            Err(failure) => {
                let status = failure.answer().status;
                let consequence = format_args!("answering {}", status.as_u16());
                self.inner().report(failure, id, consequence);
                status
            }
        };
        self.inner().counters.answered(status);
        response
    }

    async fn serve<B>(
        &self,
        id: RequestId,
        mut request: Request<B>,
    ) -> Result<Response<Body>, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let start = Instant::now();
        let inner = self.inner();
        let limits = &inner.settings().limits;
        if request.uri().scheme().is_none() {
            self.guest_authority().make_absolute(&mut request);
        }
        let permit = inner.concurrency.acquire(limits.timeout).await;
        let mut progress = RequestInProgress {
            in_flight: self.begin(permit.ok_or(Failure::Busy)?),
            id,
            body_revoker: None,
        };
        let head_only = request.method() == Method::HEAD;
        let run = if inner.reuses_instances() {
            let (request, revoker) = revocable(request, limits.after_response);
            progress.body_revoker = Some(revoker);
            if inner.shares_instances() {
                let ticket = shared::dispatch(self, request, id).await?;
                Run::join(ticket, progress)
            } else {
                Run::start(inner.instance(id).await?, request, progress)
            }
        } else {
            Run::start(inner.instance(id).await?, request, progress)
        };
        let mut waiting = AwaitedRun(Some(run));
        let response = poll_fn(|cx| poll_response(&mut waiting.0, head_only, cx));
        // From `start`: waiting for an instance counts.
        match within(start, limits.timeout, response).await {
            Some(response) => response,
            None => {
                // Not logged as cancelled: the failure is.
                waiting.0 = None;
                Err(Failure::Timeout(limits.timeout))
            }
        }
    }
}

/// The output of the future, if it is ready no later than `limit` after `start`.
async fn within<F: Future>(start: Instant, limit: Duration, future: F) -> Option<F::Output> {
    match start.checked_add(limit) {
        Some(deadline) => timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}

/// A guest whose response is awaited. Logs that it is cancelled when the request's future is dropped.
struct AwaitedRun(Option<Run>);

impl Drop for AwaitedRun {
    fn drop(&mut self) {
        if let Some(run) = &self.0 {
            run.log_cancelled("the client's connection ended before the response");
        }
    }
}

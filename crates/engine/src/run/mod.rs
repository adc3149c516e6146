//! The run of a guest for one request: in an instance of its own, offloaded to the background, or in a shared
//! instance. The response is in [`response`](crate::response).

pub(crate) mod cpu_limit;
pub(crate) mod offload;
pub(crate) mod revocable_body;
pub(crate) mod ticket;

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Request;
use http_body::Body;
use tokio::task::JoinHandle;

use crate::application::InFlight;
use crate::engine::background::Background;
use crate::engine::instance::Instance;
use crate::run::cpu_limit::{compute, panicked};
use crate::run::offload::{InstanceWork, OffloadEnd, OffloadState, Offloaded, should_offload};
use crate::run::revocable_body::BodyRevoker;
use crate::run::ticket::Ticket;
use crate::sandbox::head::{Head, HeadSlot};
use crate::sandbox::request::RequestBodyError;
use crate::scheduling::round_robin::ServingTurn;
use crate::scheduling::stopwatch::Stopwatch;
use crate::{Failure, RequestId};

/// A guest at work on one request. Dropping it cancels the guest and destroys its instance, wherever that is,
/// unless other requests share it.
pub(crate) struct Run {
    work: GuestWork,
    lingers: bool,
    has_content: bool,
    head: HeadSlot,
    stopwatch: Stopwatch,
    /// While the guest is on a thread that serves.
    turn: ServingTurn,
    request: RequestInProgress,
}

enum WorkState {
    /// An instance of the request's own, polled by its task.
    Own(InstanceWork),
    /// The same, offloaded to the background.
    Offloaded(Offloaded),
    /// An instance that other requests share.
    Shared(Ticket),
    /// The guest has ended by itself.
    Ended(Instance),
    /// The guest has failed without a response, and its instance is being destroyed in the background.
    Destroying(JoinHandle<()>, Failure),
    /// A placeholder while one of the variants above replaces another.
    Taken,
}

/// A guest's work, and where its instance is destroyed when this is dropped. An instance of a guest that has
/// computed for long may have much memory, which the kernel takes long to unmap, so it is usually destroyed in
/// the background.
struct GuestWork {
    state: WorkState,
    destroyed_in: Option<Background>,
}

impl GuestWork {
    fn here(state: WorkState) -> Self {
        Self {
            state,
            destroyed_in: None,
        }
    }

    fn take(&mut self) -> WorkState {
        std::mem::replace(&mut self.state, WorkState::Taken)
    }
}

impl Drop for GuestWork {
    fn drop(&mut self) {
        if let Some(background) = self.destroyed_in.take()
            && let state @ (WorkState::Own(_) | WorkState::Ended(_)) = self.take()
        {
            drop(background.spawn(async move { drop(state) }));
        }
    }
}

/// A request in progress: what it counts against, and its name in the log.
pub(crate) struct RequestInProgress {
    pub(crate) in_flight: InFlight,
    pub(crate) id: RequestId,
    /// Takes the request's body back, where the instance may outlive the request.
    pub(crate) body_revoker: Option<BodyRevoker>,
}

impl RequestInProgress {
    /// Counts a failure after which the response is sent unchanged, and writes it to the log.
    pub(crate) fn report_after_response(&self, failure: &Failure) {
        let application = self.in_flight.application();
        application.report(failure, self.id, "its response is not affected");
    }
}

impl Run {
    /// Gives the request to an instance of its own. No guest code runs before the first poll.
    pub(crate) fn start<B>(
        mut instance: Instance,
        request: Request<B>,
        progress: RequestInProgress,
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let has_content = !request.body().is_end_stream();
        let head = HeadSlot::default();
        let set = head.clone();
        let application = progress.in_flight.clone_application();
        let work = Box::pin(async move {
            let served = AssertUnwindSafe(instance.serve(
                &application.inner().component.world,
                request,
                &set,
            ));
            // Caught here, and not only in `compute`: the instance has to outlive the panic, see `OffloadEnd`.
            let outcome = served.catch_unwind().await;
            (
                instance,
                outcome.unwrap_or_else(|panic| Err(panicked(&*panic))),
            )
        });
        Self {
            work: GuestWork::here(WorkState::Own(work)),
            lingers: false,
            has_content,
            head,
            stopwatch: Stopwatch::default(),
            turn: ServingTurn::default(),
            request: progress,
        }
    }

    /// Waits for a shared instance.
    pub(crate) fn join(ticket: Ticket, progress: RequestInProgress) -> Self {
        Self {
            head: ticket.head().clone(),
            work: GuestWork::here(WorkState::Shared(ticket)),
            lingers: false,
            // Not used: it is never offloaded.
            has_content: true,
            stopwatch: Stopwatch::default(),
            turn: ServingTurn::default(),
            request: progress,
        }
    }

    /// Polls the guest for one turn.
    ///
    /// When the guest has ended, its instance stays until the run is dropped: the end of an unfinished body and
    /// that of a finished one can be distinguished only while the instance exists.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.is_for_background() {
            return self.offload(cx);
        }
        let work = match &mut self.work.state {
            WorkState::Own(work) => work,
            WorkState::Offloaded(_) => return self.poll_offloaded(cx),
            WorkState::Shared(ticket) => return ticket.poll(cx),
            WorkState::Ended(_) => return Poll::Ready(Ok(())),
            WorkState::Destroying(..) => return self.poll_destroying(cx),
            WorkState::Taken => return Poll::Pending,
        };
        let application = self.request.in_flight.application();
        ready!(self.turn.poll_begin(&application.cpu, cx));
        let limit = application.settings().limits.execution_timeout;
        let computed = compute(application, &mut self.stopwatch, limit, || {
            work.as_mut().poll(cx)
        });
        self.turn.finish(&application.cpu, &mut self.stopwatch);
        match computed {
            Poll::Ready(Ok((instance, outcome))) => {
                self.work.state = WorkState::Ended(instance);
                Poll::Ready(outcome)
            }
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
            Poll::Pending if should_offload(&self.stopwatch) => self.offload(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the guest is to be offloaded before it computes at all: together, guests of its application have
    /// lately computed for long on the threads that serve.
    fn is_for_background(&self) -> bool {
        let application = self.request.in_flight.application();
        application.cpu.is_heavy()
            && matches!(self.work.state, WorkState::Own(_))
            && application.engine.background().is_some()
    }

    /// Offloads the guest to the background runtime, if there is one.
    fn offload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let application = self.request.in_flight.clone_application();
        let Some(background) = application.inner().engine.background() else {
            return Poll::Pending;
        };
        let background = background.clone();
        match self.work.take() {
            WorkState::Own(work) => {
                // Leaves the queue of this thread, where it may be waiting.
                self.turn = ServingTurn::default();
                let state = OffloadState {
                    stopwatch: std::mem::take(&mut self.stopwatch),
                    permit: self.request.in_flight.permit().take(),
                };
                let offloaded = Offloaded::start(&background, work, application, state);
                self.work.state = WorkState::Offloaded(offloaded);
                self.poll_offloaded(cx)
            }
            other => {
                self.work.state = other;
                Poll::Pending
            }
        }
    }

    fn poll_offloaded(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let WorkState::Offloaded(offloaded) = &mut self.work.state else {
            return Poll::Pending;
        };
        self.head.wait(cx);
        let (state, work, outcome) = match ready!(offloaded.poll(cx)) {
            OffloadEnd::ByItself((instance, outcome), state) => {
                (state, WorkState::Ended(instance), outcome)
            }
            OffloadEnd::Failed(failure, work, state) => (state, WorkState::Own(work), Err(failure)),
            OffloadEnd::RuntimeGone(failure) => return Poll::Ready(Err(failure)),
        };
        self.stopwatch = state.stopwatch;
        *self.request.in_flight.permit() = state.permit;
        let background = self.request.in_flight.application().engine.background();
        match (outcome, background.cloned()) {
            (Err(failure), Some(background)) if !self.head.was_set() => {
                // Waited for: the response depends on how much of the request's body is unread, which is known when
                // the instance is gone.
                let destroyed = background.spawn(async move { drop(work) });
                self.work.state = WorkState::Destroying(destroyed, failure);
                self.poll_destroying(cx)
            }
            (outcome, background) => {
                self.work.state = work;
                // For the same reason, an instance whose request has a body is destroyed here.
                self.work.destroyed_in = background.filter(|_| !self.has_content);
                Poll::Ready(outcome)
            }
        }
    }

    fn poll_destroying(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let WorkState::Destroying(destroyed, _) = &mut self.work.state {
            // An error means that the runtime shuts down.
            let _ = ready!(Pin::new(destroyed).poll(cx));
        }
        match self.work.take() {
            WorkState::Destroying(_, failure) => Poll::Ready(Err(failure)),
            other => {
                self.work.state = other;
                Poll::Pending
            }
        }
    }

    /// The failure of a shared instance, if there is one.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        match &mut self.work.state {
            WorkState::Shared(ticket) => ticket.take_failure(),
            WorkState::Own(_)
            | WorkState::Offloaded(_)
            | WorkState::Ended(_)
            | WorkState::Destroying(..)
            | WorkState::Taken => None,
        }
    }

    /// Lets the host work for a moment on what an ended guest has left: a file that it responds with. `false` where
    /// nothing can be left.
    pub(crate) fn linger(&mut self) -> bool {
        if !matches!(&self.work.state, WorkState::Ended(instance) if instance.is_concurrent()) {
            return false;
        }
        if let WorkState::Ended(mut instance) = self.work.take() {
            self.lingers = true;
            self.work.state = WorkState::Own(Box::pin(async move {
                let outcome = instance.linger().await;
                (instance, outcome)
            }));
        }
        true
    }

    /// Whether the guest is alone in its instance, and of WASI 0.3, where writes wait for their reader.
    pub(crate) fn writes_when_read(&self) -> bool {
        let application = self.request.in_flight.application();
        matches!(self.work.state, WorkState::Own(_)) && application.component.is_concurrent()
    }

    /// Whether the last turn was so long that others should have theirs.
    pub(crate) fn has_used_its_turn(&self) -> bool {
        self.stopwatch.is_long()
    }

    pub(crate) fn lingers(&self) -> bool {
        self.lingers
    }

    /// Takes the response, if the guest has set one.
    pub(crate) fn take_head(&self) -> Option<Head> {
        self.head.take()
    }

    /// Ends the run, and returns its request. The instance is kept for the next request if it may be reused and
    /// `is_sound`: nothing has failed in it.
    pub(crate) fn into_request(mut self, is_sound: bool) -> RequestInProgress {
        if is_sound && let WorkState::Ended(instance) = &mut self.work.state {
            let application = self.request.in_flight.application();
            if application.may_reuse(instance)
                && let WorkState::Ended(instance) = self.work.take()
            {
                application.engine.keep(instance);
            }
        }
        self.request
    }

    pub(crate) fn request(&self) -> &RequestInProgress {
        &self.request
    }

    /// Logs that the guest is cancelled.
    pub(crate) fn log_cancelled(&self, why: &str) {
        let what = match self.work.state {
            WorkState::Shared(_) => "cancelling the request, its shared instance continues",
            _ => "cancelling the instance",
        };
        let RequestInProgress { in_flight, id, .. } = &self.request;
        tracing::info!(
            application = &*in_flight.application().settings().name,
            request = %id,
            "{why}; {what}"
        );
    }

    /// Lets the guest finish its work after the response, in a task of its own, for up to
    /// [`Limits::after_response`](crate::Limits::after_response).
    pub(crate) fn detach(mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if let WorkState::Shared(_) = self.work.state {
            // It continues in the worker's task.
            return;
        }
        runtime.spawn(async move {
            let settings = self.request.in_flight.application().settings();
            let limit = settings.limits.after_response;
            let end = poll_fn(|cx| self.poll(cx));
            match tokio::time::timeout(limit, end).await {
                Ok(Ok(())) => drop(self.into_request(true)),
                Ok(Err(failure)) => self.request.report_after_response(&failure),
                Err(_) => tracing::warn!(
                    application = &*self.request.in_flight.application().settings().name,
                    request = %self.request.id,
                    "the guest was still at work {} seconds after its response: the instance is cancelled",
                    limit.as_secs_f64()
                ),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Application, Component, Engine, Options, Settings};
    use http_body_util::{BodyExt as _, Empty};
    use std::pin::pin;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;
    use tokio::runtime::Builder;
    use tokio::time::timeout;

    fn application(background: Option<tokio::runtime::Handle>) -> Application {
        let engine = Engine::new(&Options {
            instances: 4,
            background,
            ..Options::default()
        });
        let engine = engine.unwrap();
        let component = Component::load(&engine, &test_components::guest("sleep")).unwrap();
        Application::new(engine, component, Settings::new("sleep"))
    }

    #[test]
    fn an_offloaded_instance_is_destroyed_in_the_background() {
        struct Witness(mpsc::Sender<thread::ThreadId>);

        impl Drop for Witness {
            fn drop(&mut self) {
                self.0.send(thread::current().id()).unwrap();
            }
        }

        let elsewhere = Builder::new_multi_thread().worker_threads(1).build();
        let elsewhere = elsewhere.unwrap();
        let here = thread::current().id();
        for was_there in [true, false] {
            let (destroyed, is_destroyed) = mpsc::channel();
            let witness = Witness(destroyed);
            let work = Box::pin(async move {
                let _witness = witness;
                std::future::pending().await
            });
            let background = was_there.then(|| Background::new(elsewhere.handle().clone()));
            drop(GuestWork {
                state: WorkState::Own(work),
                destroyed_in: background,
            });
            assert_eq!(is_destroyed.recv().unwrap() != here, was_there);
        }
    }

    #[test]
    fn running_guests_are_offloaded_when_their_application_computes_for_long() {
        let elsewhere = Builder::new_multi_thread().worker_threads(1).build();
        let elsewhere = elsewhere.unwrap();
        let application = application(Some(elsewhere.handle().clone()));
        let here = Builder::new_current_thread().enable_all().build().unwrap();
        here.block_on(async {
            // The only thread there is busy.
            let (over, is_over) = mpsc::channel::<()>();
            let busy = elsewhere.spawn(async move { is_over.recv() });
            let body = Empty::new().map_err(|never| -> RequestBodyError { match never {} });
            let request = Request::get("http://localhost/?50").body(body).unwrap();
            let mut response = pin!(application.handle(RequestId::next(), request));
            // It begins, and waits.
            let begun = timeout(Duration::ZERO, response.as_mut()).await;
            assert!(begun.is_err());
            application.inner().cpu.charge(Duration::from_secs(1));
            let there = timeout(Duration::from_millis(300), response.as_mut()).await;
            assert!(there.is_err());
            assert_eq!(elsewhere.metrics().num_alive_tasks(), 2);
            drop(over);
            assert_eq!(response.await.unwrap().status(), 200);
            assert!(busy.await.unwrap().is_err());
        });
    }
}

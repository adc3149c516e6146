pub(crate) mod offload;
pub(crate) mod revocable_body;

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Request;
use http_body::Body;
use tokio::task::JoinHandle;

use crate::application::{Active, Inner};
use crate::run::offload::{Background, Ended, Luggage, Moved};
use crate::run::revocable_body::Lender;
use crate::sandbox::request::RequestBodyError;
use crate::sandbox::{Head, HeadSlot, Instance};
use crate::scheduling::round_robin::ServingTurn;
use crate::scheduling::stopwatch::Stopwatch;
use crate::shared::Ticket;
use crate::{Failure, RequestId};

/// A guest at work on one request. Dropping it destroys the instance, wherever it is, unless others
/// use it too.
pub(crate) struct Run {
    work: PlacedWork,
    lingers: bool,
    has_content: bool,
    head: HeadSlot,
    stopwatch: Stopwatch,
    /// On a thread that serves.
    turn: ServingTurn,
    request: InProgress,
}

enum Work {
    /// An instance of the request's own.
    Own(OwnWork),
    /// The same, where it has computed for long.
    Moved(Moved),
    /// One that other requests use at the same time.
    Shared(Ticket),
    /// The guest has ended by itself.
    Over(Instance),
    /// It has failed without a response, and its instance is being destroyed elsewhere.
    Destroying(JoinHandle<()>, Failure),
    /// It is elsewhere.
    Gone,
}

/// A guest's work, and where its instance is destroyed when this is dropped: that of one that has computed for
/// long is so in the background, as a rule, since it may have used much memory, which takes the kernel long to
/// take back.
struct PlacedWork {
    work: Work,
    elsewhere: Option<Background>,
}

impl PlacedWork {
    fn here(work: Work) -> Self {
        Self {
            work,
            elsewhere: None,
        }
    }

    fn take(&mut self) -> Work {
        std::mem::replace(&mut self.work, Work::Gone)
    }
}

impl Drop for PlacedWork {
    fn drop(&mut self) {
        if let Some(background) = self.elsewhere.take()
            && let work @ (Work::Own(_) | Work::Over(_)) = self.take()
        {
            drop(background.spawn(async move { drop(work) }));
        }
    }
}

/// An instance's work on its request.
pub(crate) type OwnWork = Pin<Box<dyn Future<Output = Over> + Send>>;

/// An instance after its request.
pub(crate) type Over = (Instance, Result<(), Failure>);

/// A request in progress: what it counts against, and what it is called in the log.
pub(crate) struct InProgress {
    pub(crate) active: Active,
    pub(crate) id: RequestId,
    /// Of its body, where the instance may outlive the request.
    pub(crate) lender: Option<Lender>,
}

impl InProgress {
    /// Counts a failure that no client is told of, and writes it to the log.
    pub(crate) fn report(&self, failure: &Failure) {
        self.active.application().report(failure, self.id);
    }
}

impl Run {
    /// Gives the request to an instance. No guest code runs before the first poll.
    pub(crate) fn start<B>(
        mut instance: Instance,
        request: Request<B>,
        progress: InProgress,
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let has_content = !request.body().is_end_stream();
        let head = HeadSlot::default();
        let set = head.clone();
        let application = progress.active.shared();
        let work = Box::pin(async move {
            let served = AssertUnwindSafe(instance.serve(application.inner(), request, &set));
            // Here, so that a panic does not take the instance along: see [`Ended`].
            let outcome = served.catch_unwind().await;
            (
                instance,
                outcome.unwrap_or_else(|panic| Err(panicked(&*panic))),
            )
        });
        Self {
            work: PlacedWork::here(Work::Own(work)),
            lingers: false,
            has_content,
            head,
            stopwatch: Stopwatch::default(),
            turn: ServingTurn::default(),
            request: progress,
        }
    }

    /// Waits for an instance that works on other requests, too.
    pub(crate) fn join(ticket: Ticket, progress: InProgress) -> Self {
        Self {
            head: ticket.head().clone(),
            work: PlacedWork::here(Work::Shared(ticket)),
            lingers: false,
            // Never looked at: it is not moved.
            has_content: true,
            stopwatch: Stopwatch::default(),
            turn: ServingTurn::default(),
            request: progress,
        }
    }

    /// Lets the guest work until it waits for something or has computed for a slice of time.
    ///
    /// Its instance stays as it is when it has ended, until the run is dropped: as long as it is
    /// there, a body that it left unfinished can be told from a finished one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.is_for_background() {
            return self.make_way(cx);
        }
        let work = match &mut self.work.work {
            Work::Own(work) => work,
            Work::Moved(_) => return self.poll_moved(cx),
            Work::Shared(ticket) => return ticket.poll(cx),
            Work::Over(_) => return Poll::Ready(Ok(())),
            Work::Destroying(..) => return self.poll_destroying(cx),
            Work::Gone => return Poll::Pending,
        };
        let application = self.request.active.application();
        ready!(self.turn.poll_begin(&application.cpu, cx));
        let limit = application.settings.limits.execution_timeout;
        let computed = compute(application, &mut self.stopwatch, limit, || {
            work.as_mut().poll(cx)
        });
        self.turn.finish(&application.cpu, &mut self.stopwatch);
        match computed {
            Poll::Ready(Ok((instance, outcome))) => {
                self.work.work = Work::Over(instance);
                Poll::Ready(outcome)
            }
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
            Poll::Pending if offload::is_due(&self.stopwatch) => self.make_way(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the application's guests have lately computed for so long that none of them is to hold up
    /// others here, not even for a moment.
    fn is_for_background(&self) -> bool {
        let application = self.request.active.application();
        application.cpu.is_heavy()
            && matches!(self.work.work, Work::Own(_))
            && application.engine.background().is_some()
    }

    /// Moves the guest to where it is in nobody's way, if there is such a place.
    fn make_way(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let application = self.request.active.shared();
        let Some(background) = application.inner().engine.background() else {
            return Poll::Pending;
        };
        let background = background.clone();
        match self.work.take() {
            Work::Own(work) => {
                // It may wait for its turn here.
                self.turn = ServingTurn::default();
                let luggage = Luggage {
                    stopwatch: std::mem::take(&mut self.stopwatch),
                    slot: self.request.active.slot().take(),
                };
                self.work.work = Work::Moved(Moved::to(&background, work, application, luggage));
                self.poll_moved(cx)
            }
            other => {
                self.work.work = other;
                Poll::Pending
            }
        }
    }

    fn poll_moved(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Work::Moved(moved) = &mut self.work.work else {
            return Poll::Pending;
        };
        self.head.wait(cx);
        let (luggage, work, outcome) = match ready!(moved.poll(cx)) {
            Ended::ByItself((instance, outcome), luggage) => {
                (luggage, Work::Over(instance), outcome)
            }
            Ended::Failed(failure, work, luggage) => (luggage, Work::Own(work), Err(failure)),
            Ended::Lost(failure) => return Poll::Ready(Err(failure)),
        };
        self.stopwatch = luggage.stopwatch;
        *self.request.active.slot() = luggage.slot;
        let background = self.request.active.application().engine.background();
        match (outcome, background.cloned()) {
            (Err(failure), Some(background)) if !self.head.was_set() => {
                // It is waited for: what is left of the request's body is to be known when the response is
                // made.
                let destroyed = background.spawn(async move { drop(work) });
                self.work.work = Work::Destroying(destroyed, failure);
                self.poll_destroying(cx)
            }
            (outcome, background) => {
                self.work.work = work;
                // For the same reason not where there is a body.
                self.work.elsewhere = background.filter(|_| !self.has_content);
                Poll::Ready(outcome)
            }
        }
    }

    fn poll_destroying(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Work::Destroying(destroyed, _) = &mut self.work.work {
            // It fails only with its runtime.
            let _ = ready!(Pin::new(destroyed).poll(cx));
        }
        match self.work.take() {
            Work::Destroying(_, failure) => Poll::Ready(Err(failure)),
            other => {
                self.work.work = other;
                Poll::Pending
            }
        }
    }

    /// How an instance with others has failed, if it has.
    pub(crate) fn told(&mut self) -> Option<Failure> {
        match &mut self.work.work {
            Work::Shared(ticket) => ticket.told(),
            Work::Own(_) | Work::Moved(_) | Work::Over(_) | Work::Destroying(..) | Work::Gone => {
                None
            }
        }
    }

    /// Lets the host go on, for a moment, with what a guest that has ended left to it: a file that it
    /// answers with. `false` where nothing can be left.
    pub(crate) fn linger(&mut self) -> bool {
        if !matches!(&self.work.work, Work::Over(instance) if instance.is_concurrent()) {
            return false;
        }
        if let Work::Over(mut instance) = self.work.take() {
            self.lingers = true;
            self.work.work = Work::Own(Box::pin(async move {
                let outcome = instance.linger().await;
                (instance, outcome)
            }));
        }
        true
    }

    /// Whether the guest is alone in its instance and of a world where what it writes waits for its
    /// reader.
    pub(crate) fn writes_when_read(&self) -> bool {
        let application = self.request.active.application();
        matches!(self.work.work, Work::Own(_)) && application.component.is_concurrent()
    }

    /// Whether the guest has just computed for so long that it is the turn of others.
    pub(crate) fn has_had_its_turn(&self) -> bool {
        self.stopwatch.is_long()
    }

    pub(crate) fn lingers(&self) -> bool {
        self.lingers
    }

    /// The response, if the guest has set one since this was last asked.
    pub(crate) fn take_head(&self) -> Option<Head> {
        self.head.take()
    }

    /// The request, after its instance: that goes to the next one, if it may and nothing has failed.
    pub(crate) fn into_request(mut self, is_sound: bool) -> InProgress {
        if is_sound && let Work::Over(instance) = &mut self.work.work {
            let application = self.request.active.application();
            if application.may_retire(instance)
                && let Work::Over(instance) = self.work.take()
            {
                application.engine.keep(instance);
            }
        }
        self.request
    }

    pub(crate) fn request(&self) -> &InProgress {
        &self.request
    }

    /// Says in the log that nobody waits for the guest any more.
    pub(crate) fn log_cancelled(&self, why: &str) {
        let what = match self.work.work {
            Work::Shared(_) => "the request is given up, and its instance goes on with others",
            _ => "the instance is cancelled",
        };
        let InProgress { active, id, .. } = &self.request;
        tracing::info!(
            application = &*active.application().settings.name,
            request = %id,
            "{what}: {why}"
        );
    }

    /// Lets the guest finish what it does after its response, for as long as it is allowed to.
    pub(crate) fn detach(mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if let Work::Shared(_) = self.work.work {
            // It goes on whether or not someone waits for it.
            return;
        }
        runtime.spawn(async move {
            let limit = self
                .request
                .active
                .application()
                .settings
                .limits
                .after_response;
            let rest = poll_fn(|cx| self.poll(cx));
            match tokio::time::timeout(limit, rest).await {
                Ok(Ok(())) => drop(self.into_request(true)),
                Ok(Err(failure)) => self.request.report(&failure),
                Err(_) => tracing::warn!(
                    application = &*self.request.active.application().settings.name,
                    request = %self.request.id,
                    "the guest was still at work {} seconds after its response, and is cancelled",
                    limit.as_secs_f64()
                ),
            }
        });
    }
}

/// Polls a guest: measures what it computes, and ends it when that is too much.
///
/// A panic is a defect of the host, and must not take the connection's other requests along. What
/// was polled must not be touched again after an error.
pub(crate) fn compute<T>(
    application: &Inner,
    stopwatch: &mut Stopwatch,
    allowed: Duration,
    poll: impl FnOnce() -> Poll<T>,
) -> Poll<Result<T, Failure>> {
    let ticker = application.engine.ticker();
    let computing = ticker.computing();
    let turn = stopwatch.begin(ticker.is_vigilant());
    let polled = catch_unwind(AssertUnwindSafe(poll));
    application.counters.computed(stopwatch.end(&turn));
    drop(computing);
    if stopwatch.is_long() {
        ticker.note_long_turn();
    }
    match polled {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) if stopwatch.computed() > allowed => {
            let limit = application.settings.limits.execution_timeout;
            Poll::Ready(Err(Failure::ExecutionTimeout(limit)))
        }
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panicked(&*panic))),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::Panic(text.unwrap_or("with no message").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Application, Component, Engine, Options, Settings};
    use http_body_util::{BodyExt as _, Empty};
    use std::pin::pin;
    use std::sync::mpsc;
    use std::thread;
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
    fn a_first_turn_is_measured_by_the_processor_while_other_guests_compute_for_long() {
        const INTERRUPTED: Duration = Duration::from_millis(20);
        let application = application(None);
        let inner = application.inner();
        let ticker = inner.engine.ticker();
        let is_exact = || {
            let _computing = ticker.computing();
            ticker.note_long_turn();
            while !ticker.is_vigilant() {
                thread::yield_now();
            }
            let mut stopwatch = Stopwatch::default();
            let computed = compute(inner, &mut stopwatch, Duration::MAX, || {
                thread::sleep(INTERRUPTED);
                Poll::Ready(())
            });
            assert!(computed.is_ready());
            stopwatch.computed() < INTERRUPTED / 2
        };
        // On a machine that is busy, it may be over again by then.
        assert!((0..10).any(|_| is_exact()));
    }

    #[test]
    fn an_instance_that_was_in_the_background_is_destroyed_there() {
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
            drop(PlacedWork {
                work: Work::Own(work),
                elsewhere: background,
            });
            assert_eq!(is_destroyed.recv().unwrap() != here, was_there);
        }
    }

    #[test]
    fn guests_that_have_begun_make_way_too_when_their_application_computes_for_long() {
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

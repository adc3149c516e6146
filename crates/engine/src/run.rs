use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::application::Active;
use crate::component::World;
use crate::guest::Guest;
use crate::request::{self, RequestBodyError};
use crate::{Failure, RequestId};

/// What the guest set as its response.
type Head = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// One instance at work. Dropping it destroys the instance, wherever it is.
pub(crate) struct Run {
    work: Pin<Box<dyn Future<Output = Ended> + Send>>,
    head: Arc<Mutex<Option<Head>>>,
    request: InProgress,
}

/// Says in the log that an instance is destroyed before its time.
pub(crate) fn log_cancelled(request: &InProgress, why: &str) {
    tracing::info!(
        application = &*request.active.application().settings.name,
        request = %request.id,
        "the instance is cancelled: {why}"
    );
}

/// A request in progress: what it counts against, and what it is called in the log.
pub(crate) struct InProgress {
    pub(crate) active: Active,
    pub(crate) id: RequestId,
    /// The right to have an instance; given back when the instance is gone.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl InProgress {
    pub(crate) fn log(&self, failure: &Failure) {
        failure.log(&self.active.application().settings.name, self.id);
    }
}

/// A guest that runs no more.
pub(crate) struct Ended {
    /// What the host has of it. The instance is gone, but as long as this lives an outgoing body
    /// that the guest left unfinished stays open, which tells it from a finished one.
    pub(crate) _guest: Option<Guest>,
    pub(crate) outcome: Result<(), Failure>,
}

impl Run {
    /// Makes the instance's store and tells it the request. No guest code runs before the first
    /// poll.
    pub(crate) fn start<B>(request: Request<B>, progress: InProgress) -> Result<Self, Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let application = progress.active.application();
        let engine = &application.engine;
        let guest = Guest::new(
            &application.settings,
            &application.printing,
            progress.id,
            Arc::clone(engine.memory()),
        )
        .map_err(Failure::Instantiate)?;
        let mut store = Store::new(engine.wasmtime(), guest);
        store.limiter(|guest| guest.memory());
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);

        let World::Proxy02(pre) = &application.component.world;
        let pre = pre.clone();
        let incoming = request::tell(store.data_mut(), request).map_err(Failure::Request)?;
        let head = Arc::new(Mutex::new(None));
        let set = Arc::clone(&head);
        let out = store
            .data_mut()
            .http()
            .new_response_outparam_from_callback(move |response| {
                *set.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
            })
            .map_err(Failure::Request)?;

        let work = Box::pin(async move {
            let outcome = match pre.instantiate_async(&mut store).await {
                Ok(proxy) => proxy
                    .wasi_http_incoming_handler()
                    .call_handle(&mut store, incoming, out)
                    .await
                    .map_err(Failure::of_guest),
                Err(error) if error.is::<PoolConcurrencyLimitError>() => Err(Failure::Busy),
                Err(error) if error.is::<Trap>() => Err(Failure::of_guest(error)),
                Err(error) => Err(Failure::Instantiate(error)),
            };
            Ended {
                _guest: Some(store.into_data()),
                outcome,
            }
        });
        Ok(Self {
            work,
            head,
            request: progress,
        })
    }

    /// Lets the guest work until it waits for something or has computed for a slice of time.
    ///
    /// Must not be polled again once it has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let _computing = self
            .request
            .active
            .application()
            .engine
            .ticker()
            .computing();
        // A panic is a defect of the host, and must not take the connection's other requests
        // along. The instance is not touched again.
        match catch_unwind(AssertUnwindSafe(|| self.work.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                let outcome = Err(Failure::Panic(message(&*panic)));
                Poll::Ready(Ended {
                    _guest: None,
                    outcome,
                })
            }
        }
    }

    /// The response, if the guest has set one since this was last asked.
    pub(crate) fn take_head(&self) -> Option<Head> {
        self.head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// The request, after its instance. A client that reads slowly holds no instance back that
    /// others could have.
    pub(crate) fn into_request(mut self) -> InProgress {
        drop(self.work);
        self.request.permit = None;
        self.request
    }

    pub(crate) fn request(&self) -> &InProgress {
        &self.request
    }

    /// Lets the guest finish what it does after its response, for as long as it is allowed to.
    pub(crate) fn detach(mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let limit = self
                .request
                .active
                .application()
                .settings
                .limits
                .after_response;
            let rest = std::future::poll_fn(|cx| self.poll(cx));
            match tokio::time::timeout(limit, rest).await {
                Ok(ended) => {
                    if let Err(failure) = ended.outcome {
                        self.request.log(&failure);
                    }
                }
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

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with no message")
        .to_owned()
}

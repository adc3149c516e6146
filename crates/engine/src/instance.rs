use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::p3::bindings::Service;

use crate::application::Inner;
use crate::component::World;
use crate::guest::Guest;
use crate::instance_pool::InstancePermit;
use crate::request::RequestBodyError;
use crate::{Failure, RequestId, proxy, service};

/// What a guest set as its response.
pub(crate) type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Where a guest's response is put, for whoever polls the guest, or waits for it.
#[derive(Clone, Default)]
pub(crate) struct HeadSlot(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    head: Option<Head>,
    waiting: Option<Waker>,
}

impl HeadSlot {
    pub(crate) fn set(&self, head: Head) {
        let mut slot = self.lock();
        slot.head = Some(head);
        let waiting = slot.waiting.take();
        drop(slot);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// The response, if one was set since this was last asked.
    pub(crate) fn take(&self) -> Option<Head> {
        self.lock().head.take()
    }

    /// Has the task woken when the response is set, if another one polls the guest. To be called before
    /// [`take`](Self::take).
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        self.lock().waiting = Some(cx.waker().clone());
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        // Nothing is left half done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handles of streams, futures and tasks that a guest of WASI 0.3 may have at a time.
const MAX_CONCURRENT: usize = 4096;

/// How long a body whose guest has ended may stand still, where the host may still move it.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// A component's instance with its store: one sandbox. Dropping it destroys all of it.
pub(crate) struct Instance {
    store: Store<Guest>,
    /// `None` until its first request.
    exports: Option<Exports>,
    served: u32,
    /// After the store, so that there are never more of them than there may be.
    _permit: InstancePermit,
}

enum Exports {
    Proxy02(Proxy),
    Service03(Service),
}

impl Instance {
    /// Makes the store. The guest's own start-up is part of the first [`serve`](Self::serve).
    pub(crate) fn new(
        application: &Inner,
        id: RequestId,
        permit: InstancePermit,
    ) -> Result<Self, Failure> {
        let guest = Guest::new(application, id).map_err(Failure::Instantiate)?;
        let mut store = Store::new(application.component.wasmtime(), guest);
        store.limiter(|guest| guest.memory());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| {
            // Until tokio has looked at its sockets, which is when all others have had their turn:
            // it looks by itself every 61 turns only, each of which may be a guest's millisecond.
            let others = tokio::task::yield_now();
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(others)))
        });
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(MAX_CONCURRENT);
        }
        Ok(Self {
            store,
            exports: None,
            served: 0,
            _permit: permit,
        })
    }

    /// Requests that it has been given.
    pub(crate) fn served(&self) -> u32 {
        self.served
    }

    /// What the host has of the guest.
    pub(crate) fn guest(&self) -> &Guest {
        self.store.data()
    }

    /// Runs the guest for one request, to its very end. Its response is in `head` long before that.
    pub(crate) async fn serve<B>(
        &mut self,
        application: &Inner,
        request: Request<B>,
        head: &HeadSlot,
    ) -> Result<(), Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        self.served = self.served.saturating_add(1);
        let (store, exports) = self.instantiated(application).await?;
        match exports {
            Exports::Proxy02(proxy) => proxy::serve(store, proxy, request, head).await,
            Exports::Service03(service) => service::serve(store, service, request, head).await,
        }
    }

    /// Whether its guest has concurrent tasks, so that the host may have work for it when it has ended.
    pub(crate) fn is_concurrent(&self) -> bool {
        matches!(self.exports, Some(Exports::Service03(_)))
    }

    /// Lets the host work for [`LINGER`], without the guest's doing.
    pub(crate) async fn linger(&mut self) -> Result<(), Failure> {
        self.store
            .run_concurrent(async |_| tokio::time::sleep(LINGER).await)
            .await
            .map_err(Failure::of_guest)
    }

    /// For several requests at the same time: the store, what is asked, and the count of requests.
    ///
    /// # Errors
    ///
    /// Also when the component is none of WASI 0.3, which serves its requests one by one.
    pub(crate) async fn shared(
        &mut self,
        application: &Inner,
    ) -> Result<(&mut Store<Guest>, &Service, &mut u32), Failure> {
        self.instantiated(application).await?;
        match &self.exports {
            Some(Exports::Service03(service)) => Ok((&mut self.store, service, &mut self.served)),
            _ => Err(Failure::Instantiate(wasmtime::Error::msg(
                "a component of WASI 0.2 serves its requests one by one",
            ))),
        }
    }

    /// The store and the guest's exports, after the guest's own start-up.
    async fn instantiated(
        &mut self,
        application: &Inner,
    ) -> Result<(&mut Store<Guest>, &Exports), Failure> {
        let exports = match self.exports.take() {
            Some(exports) => exports,
            None => instantiate(&mut self.store, &application.component.world).await?,
        };
        Ok((&mut self.store, self.exports.insert(exports)))
    }
}

async fn instantiate(store: &mut Store<Guest>, world: &World) -> Result<Exports, Failure> {
    let exports = match world {
        World::Proxy02(pre) => pre.instantiate_async(store).await.map(Exports::Proxy02),
        World::Service03(pre) => pre.instantiate_async(store).await.map(Exports::Service03),
    };
    exports.map_err(|error| {
        if error.is::<PoolConcurrencyLimitError>() {
            Failure::Busy
        } else if error.is::<Trap>() {
            Failure::of_guest(error)
        } else {
            Failure::Instantiate(error)
        }
    })
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.guest().leave();
    }
}

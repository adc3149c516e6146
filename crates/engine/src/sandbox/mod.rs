pub(crate) mod directory;
pub(crate) mod egress;
pub(crate) mod filesystem;
pub(crate) mod guest;
pub(crate) mod host_body;
pub(crate) mod incoming_body;
pub(crate) mod memory;
pub(crate) mod open_files;
pub(crate) mod p2;
pub(crate) mod p3;
pub(crate) mod request;
pub(crate) mod stdio;
pub(crate) mod wasi;

use std::ops::{Deref, DerefMut};
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
use crate::engine::instance_pool::{InstancePermit, InstanceShare};
use crate::failure::error_code;
use crate::sandbox::guest::Guest;
use crate::sandbox::request::RequestBodyError;
use crate::{Failure, RequestId};

/// What a guest set as its response.
pub(crate) type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Where a guest's response is put, for whoever polls the guest, or waits for it.
#[derive(Clone, Default)]
pub(crate) struct HeadSlot(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    head: Option<Head>,
    was_set: bool,
    waiting: Option<Waker>,
}

impl HeadSlot {
    pub(crate) fn set(&self, mut head: Head) {
        if let Err(code) = &mut head {
            // The guest's text may have megabytes.
            error_code::shorten(code);
        }
        let mut slot = self.lock();
        slot.head = Some(head);
        slot.was_set = true;
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

    /// Whether there has been a response, taken or not.
    pub(crate) fn was_set(&self) -> bool {
        self.lock().was_set
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

/// Bytes of texts and lists that a guest may give to the host in one call. What it writes comes in pieces of
/// 64 KiB at most, but for `descriptor.write`, which takes whatever a program passes to `pwrite`. Wasmtime's
/// default is 128 MiB, which a guest can have the host hold with much less memory of its own, by lists whose
/// entries are one text.
const MAX_HOSTCALL: usize = 8 << 20;

/// How long a body whose guest has ended may stand still, where the host may still move it.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// A component's instance with its store: one sandbox. Dropping it destroys all of it.
pub(crate) struct Instance {
    store: AccountedStore<Guest>,
    /// `None` until its first request.
    exports: Option<Exports>,
    served: u32,
    /// After the store, so that there are never more of them than there may be.
    permit: InstancePermit,
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
        // It is asked for once in each operation.
        store.limiter(|guest| guest.memory().operation());
        store.set_hostcall_fuel(MAX_HOSTCALL);
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
            store: AccountedStore(Some(store)),
            exports: None,
            served: 0,
            permit,
        })
    }

    /// Requests that it has been given.
    pub(crate) fn served(&self) -> u32 {
        self.served
    }

    /// What it counts against.
    pub(crate) fn share(&self) -> &Arc<InstanceShare> {
        self.permit.share()
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
            Exports::Proxy02(proxy) => p2::serve(store, proxy, request, head).await,
            Exports::Service03(service) => p3::serve(store, service, request, head).await,
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
            None => {
                let exports = instantiate(&mut self.store, &application.component.world).await?;
                self.store.data_mut().memory().started();
                exports
            }
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
        if error.is::<PoolConcurrencyLimitError>() || error.is::<Trap>() {
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

/// A store whose memories are freed before its guest's account gives back what they were. (A [`Store`] by
/// itself drops its data first.)
struct AccountedStore<T: 'static>(Option<Store<T>>);

impl<T> Deref for AccountedStore<T> {
    type Target = Store<T>;

    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref(&self) -> &Store<T> {
        self.0.as_ref().expect("the store is there")
    }
}

impl<T> DerefMut for AccountedStore<T> {
    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref_mut(&mut self) -> &mut Store<T> {
        self.0.as_mut().expect("the store is there")
    }
}

impl<T> Drop for AccountedStore<T> {
    fn drop(&mut self) {
        if let Some(store) = self.0.take() {
            drop(store.into_data());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Settings, wat_guest};

    #[test]
    fn memories_are_freed_before_the_account_is() {
        /// Notes how many memories there are when it is dropped.
        struct Account(wasmtime::Engine, Arc<AtomicUsize>);
        impl Drop for Account {
            fn drop(&mut self) {
                let Self(engine, left) = self;
                let pool = engine.pooling_allocator_metrics().unwrap();
                left.store(pool.memories(), Ordering::SeqCst);
            }
        }
        let mut config = wasmtime::Config::new();
        let mut pool = wasmtime::PoolingAllocationConfig::new();
        pool.total_memories(1).max_memory_size(1 << 16);
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
        let engine = wasmtime::Engine::new(&config).unwrap();
        let module = wat::parse_str("(module (memory 1))").unwrap();
        let module = wasmtime::Module::new(&engine, module).unwrap();
        let left = Arc::new(AtomicUsize::new(7));
        let account = Account(engine.clone(), Arc::clone(&left));
        let mut store = AccountedStore(Some(Store::new(&engine, account)));
        wasmtime::Instance::new(&mut *store, &module, &[]).unwrap();
        let pool = engine.pooling_allocator_metrics().unwrap();
        assert_eq!((pool.memories(), left.load(Ordering::SeqCst)), (1, 7));
        drop(store);
        assert_eq!(left.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_call_with_more_text_than_the_host_takes_is_a_trap() {
        let asks = |length: usize| {
            let types = r#"
                (export "fields" (type $fields (sub resource)))
                (export "[constructor]fields" (func (result (own $fields))))
                (export "[method]fields.has" (func
                    (param "self" (borrow $fields)) (param "name" string) (result bool)))"#;
            let core = format!(
                r#"
                (core module $memory (memory (export "memory") 200))
                (core instance $memory (instantiate $memory))
                (alias core export $memory "memory" (core memory $shared))
                (alias export $types "[constructor]fields" (func $new))
                (alias export $types "[method]fields.has" (func $has))
                (core func $new (canon lower (func $new)))
                (core func $has (canon lower (func $has) (memory $shared)))
                (core module $module
                    (import "host" "new" (func $new (result i32)))
                    (import "host" "has" (func $has (param i32 i32 i32) (result i32)))
                    (func (export "handle") (param i32 i32)
                        (drop (call $has (call $new) (i32.const 0) (i32.const {length}))))
                )
                (core instance $core (instantiate $module (with "host" (instance
                    (export "new" (func $new))
                    (export "has" (func $has))
                ))))"#
            );
            wat_guest::failure(&wat_guest::importing(types, &core, Settings::new("a")))
        };
        let failure = asks(MAX_HOSTCALL);
        assert!(matches!(failure, Failure::NoResponse), "{failure}");
        let text = asks(MAX_HOSTCALL + 1).to_string();
        assert!(text.contains("too much data is being copied"), "{text}");
    }
}

//! One component's instance with its store and everything that the host holds for it: a sandbox. It is made
//! from a [`Template`] and a [`World`]; it knows neither the application that it belongs to
//! nor the pool that it counts against.

pub(crate) mod application_memory;
pub(crate) mod descriptors;
pub(crate) mod directory;
pub(crate) mod flavor;
pub(crate) mod guest;
pub(crate) mod head;
pub(crate) mod host_body;
pub(crate) mod p3;
pub(crate) mod request;
pub(crate) mod template;
pub(crate) mod workers;
pub(crate) mod world;

mod body_failures;
mod egress;
mod filesystem;
mod incoming_body;
mod memory;
mod open_files;
mod p2;
mod stdio;
mod store;
mod wasi;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p3::bindings::Service;

use crate::sandbox::guest::Guest;
use crate::sandbox::head::HeadSlot;
use crate::sandbox::request::RequestBodyError;
use crate::sandbox::store::AccountedStore;
use crate::sandbox::template::Template;
use crate::sandbox::world::World;
use crate::{Failure, RequestId};

/// Handles of streams, futures and tasks that a guest of WASI 0.3 may have at a time.
const MAX_CONCURRENT: usize = 4096;

/// Bytes of strings and lists that a guest may pass to the host in one call. Guests write pieces of at most 64 KiB,
/// except through `descriptor.write`, which takes whatever a program passes to `pwrite`. Wasmtime's default is
/// 128 MiB: a guest could make the host hold that much with far less memory of its own, by lists whose entries are
/// all one string.
const MAX_HOSTCALL: usize = 8 << 20;

/// How long a body whose guest has ended may make no progress while the host may still have work for it.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// A store and the component's instance in it. Dropping it destroys both.
pub(crate) struct Sandbox {
    store: AccountedStore<Guest>,
    /// `None` until its first request.
    exports: Option<Exports>,
}

enum Exports {
    Proxy02(Proxy),
    Service03(Service),
}

impl Sandbox {
    /// Makes the store. The component is instantiated by the first [`serve`](Self::serve), since its start function
    /// is guest code.
    ///
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened.
    pub(crate) fn new(
        template: &Arc<Template>,
        world: &World,
        id: RequestId,
    ) -> Result<Self, Failure> {
        let guest = Guest::new(template, id).map_err(Failure::Instantiate)?;
        let mut store = Store::new(world.wasmtime(), guest);
        // Called once per operation that may grow something.
        store.limiter(|guest| guest.memory().operation());
        store.set_hostcall_fuel(MAX_HOSTCALL);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| {
            // tokio's yield, not Wasmtime's own: it resumes after tokio has looked at its sockets, which it does
            // when all other tasks have been polled. By itself tokio looks every 61 polls only, each of which may
            // be a guest's millisecond.
            let others = tokio::task::yield_now();
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(others)))
        });
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(MAX_CONCURRENT);
        }
        Ok(Self {
            store: AccountedStore::new(store),
            exports: None,
        })
    }

    /// Attributes what the guest prints from now on to this request.
    pub(crate) fn serve_next(&self, id: RequestId) {
        self.store.data().serve_next(id);
    }

    /// Runs the guest for one request, until it has nothing left to do. Its response is in `head` long before that.
    pub(crate) async fn serve<B>(
        &mut self,
        world: &World,
        request: Request<B>,
        head: &HeadSlot,
    ) -> Result<(), Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let (store, exports) = self.instantiated(world).await?;
        match exports {
            Exports::Proxy02(proxy) => p2::serve(store, proxy, request, head).await,
            Exports::Service03(service) => p3::serve(store, service, request, head).await,
        }
    }

    /// Whether the guest has concurrent tasks, so that the host may have work for it after it has ended.
    pub(crate) fn is_concurrent(&self) -> bool {
        matches!(self.exports, Some(Exports::Service03(_)))
    }

    /// Lets the host work for [`LINGER`] on what an ended guest has left, without running guest code.
    pub(crate) async fn linger(&mut self) -> Result<(), Failure> {
        self.store
            .run_concurrent(async |_| tokio::time::sleep(LINGER).await)
            .await
            .map_err(Failure::of_guest)
    }

    /// The store and the exported handler, to serve several requests at the same time.
    ///
    /// # Errors
    ///
    /// Those of the instantiation; and when the component is of WASI 0.2, which serves its requests one by one.
    pub(crate) async fn shared(
        &mut self,
        world: &World,
    ) -> Result<(&mut Store<Guest>, &Service), Failure> {
        self.instantiated(world).await?;
        match &self.exports {
            Some(Exports::Service03(service)) => Ok((&mut self.store, service)),
            _ => Err(Failure::Instantiate(wasmtime::Error::msg(
                "a component of WASI 0.2 serves its requests one by one",
            ))),
        }
    }

    /// The store and the exports; instantiates the component first where that has not been done.
    async fn instantiated(
        &mut self,
        world: &World,
    ) -> Result<(&mut Store<Guest>, &Exports), Failure> {
        let exports = match self.exports.take() {
            Some(exports) => exports,
            None => {
                let exports = instantiate(&mut self.store, world).await?;
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

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.store.data().leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, wat_guest};

    #[test]
    fn a_host_call_with_too_much_text_is_a_trap() {
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

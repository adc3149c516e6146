//! Runs a component per request with hyper and Wasmtime only: no limits, no logs, no configuration.

use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::oneshot;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::error::Context as _;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// A component of `wasi:http/proxy`, ready to be instantiated.
pub struct Sandbox(ProxyPre<Host>);

/// One instance of it.
pub struct Instance {
    store: Store<Host>,
    proxy: Proxy,
}

struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoRequests,
    table: ResourceTable,
}

impl Sandbox {
    /// Compiles the component in this file.
    ///
    /// # Errors
    ///
    /// When it does not compile or link.
    pub fn load(path: &Path) -> Result<Self> {
        let mut config = Config::new();
        config.concurrency_support(false);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, path)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        Ok(Self(ProxyPre::new(linker.instantiate_pre(&component)?)?))
    }

    /// Makes an instance.
    ///
    /// # Errors
    ///
    /// When there is no room for one, or its start-up fails.
    pub async fn instantiate(&self) -> Result<Instance> {
        let host = Host {
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: NoRequests,
            table: ResourceTable::new(),
        };
        let mut store = Store::new(self.0.engine(), host);
        let proxy = self.0.instantiate_async(&mut store).await?;
        Ok(Instance { store, proxy })
    }
}

impl Instance {
    /// Has it answer a request. The guest may still be at work when this returns: it is given as well,
    /// to be driven on.
    ///
    /// # Errors
    ///
    /// When it sets no response.
    pub async fn call<B>(
        mut self,
        request: Request<B>,
    ) -> Result<(
        Response<HyperOutgoingBody>,
        impl Future<Output = Result<Self>>,
    )>
    where
        B: Body<Data = Bytes, Error: std::error::Error> + Send + 'static,
    {
        let (head, mut comes) = oneshot::channel();
        let request = request.map(|body| body.map_err(|_| Error::HttpProtocolError));
        let mut view = self.store.data_mut().http();
        let request = view.new_incoming_request(Scheme::Http, request)?;
        let out = view.new_response_outparam(head)?;
        let mut call = Box::pin(async move {
            let handler = self.proxy.wasi_http_incoming_handler();
            handler.call_handle(&mut self.store, request, out).await?;
            wasmtime::error::Ok(self)
        });
        let (ended, response) = tokio::select! {
            biased;
            ended = &mut call => (Some(ended?), comes.await),
            response = &mut comes => (None, response),
        };
        let response = response.context("the guest set no response")??;
        let rest = async {
            match ended {
                Some(instance) => Ok(instance),
                None => call.await,
            }
        };
        Ok((response, rest))
    }
}

/// The settings that the server's own engine has where the kernel tells which pages were written.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_core_instance_size(16 << 20)
        .max_component_instance_size(16 << 20);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10);
    }
    pool
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            hooks: &mut self.hooks,
            table: &mut self.table,
        }
    }
}

/// Guests send no requests.
struct NoRequests;

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Driver), Error>> + Send>;

impl WasiHttpHooks for NoRequests {
    fn send_request(&mut self, _: Request<WasiBody>, _: Option<RequestOptions>, _: Driver) -> Sent {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

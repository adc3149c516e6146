//! A sandbox that counts against the instances of its application.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use wasmtime::Store;
use wasmtime_wasi_http::p3::bindings::Service;

use crate::engine::instance_pool::{InstancePermit, InstanceShare, Pooled};
use crate::sandbox::Sandbox;
use crate::sandbox::guest::Guest;
use crate::sandbox::head::HeadSlot;
use crate::sandbox::request::RequestBodyError;
use crate::sandbox::template::Template;
use crate::sandbox::world::World;
use crate::{Failure, RequestId};

/// A sandbox with its permit. Dropping it destroys the sandbox, then gives the permit back.
pub(crate) struct Instance {
    sandbox: Sandbox,
    /// Requests that it has been given.
    served: u32,
    /// Declared last, so that it is given back when the sandbox is gone: there are never more instances than
    /// permits.
    permit: InstancePermit<Self>,
}

impl Instance {
    /// # Errors
    ///
    /// When one of the application's folders cannot be opened.
    pub(crate) fn new(
        template: &Arc<Template>,
        world: &World,
        id: RequestId,
        permit: InstancePermit<Self>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            sandbox: Sandbox::new(template, world, id)?,
            served: 0,
            permit,
        })
    }

    pub(crate) fn served(&self) -> u32 {
        self.served
    }

    /// See [`Sandbox::serve_next`].
    pub(crate) fn serve_next(&self, id: RequestId) {
        self.sandbox.serve_next(id);
    }

    /// See [`Sandbox::serve`].
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
        self.served = self.served.saturating_add(1);
        self.sandbox.serve(world, request, head).await
    }

    /// See [`Sandbox::is_concurrent`].
    pub(crate) fn is_concurrent(&self) -> bool {
        self.sandbox.is_concurrent()
    }

    /// See [`Sandbox::linger`].
    pub(crate) async fn linger(&mut self) -> Result<(), Failure> {
        self.sandbox.linger().await
    }

    /// See [`Sandbox::shared`]; with the number of requests that it has been given, which the caller counts.
    pub(crate) async fn shared(
        &mut self,
        world: &World,
    ) -> Result<(&mut Store<Guest>, &Service, &mut u32), Failure> {
        let (store, service) = self.sandbox.shared(world).await?;
        Ok((store, service, &mut self.served))
    }
}

impl Pooled for Instance {
    fn share(&self) -> &Arc<InstanceShare<Self>> {
        self.permit.share()
    }
}

//! How a component of `wasi:http/service` (WASI 0.3) is asked.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::Failure;
use crate::failure::error_code;
use crate::sandbox::guest::Guest;
use crate::sandbox::request::{self, RequestBodyError};
use crate::sandbox::{Head, HeadSlot};

/// Calls `handler.handle`, and returns when the guest has nothing left to do: it may go on long
/// after it has returned its response.
pub(crate) async fn serve<B>(
    store: &mut Store<Guest>,
    service: &Service,
    request: Request<B>,
    head: &HeadSlot,
) -> Result<(), Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    let request = tell(store.data_mut(), request::told(request));
    let ran = store
        .run_concurrent(async |accessor| {
            head.set(answer(accessor, service, request).await?);
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            wasmtime::error::Ok(())
        })
        .await;
    ran.flatten().map_err(Failure::of_guest)
}

/// The request as a guest is told it, of a type that does not depend on its sender.
pub(crate) fn erased<B>(request: Request<B>) -> Request<WasiBody>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    request::told(request).map(BodyExt::boxed_unsync)
}

/// Makes the `request` resource that the guest is called with.
pub(crate) fn tell<B>(guest: &mut Guest, request: Request<B>) -> p3::Request
where
    B: Body<Data = Bytes, Error = Error> + Send + 'static,
{
    // What the guest makes of the body's end is its own business.
    let (request, _result) = p3::Request::from_http(guest.admitting().hooks, request);
    request
}

/// The guest's response to one request.
pub(crate) async fn answer(
    accessor: &Accessor<Guest>,
    service: &Service,
    request: p3::Request,
) -> wasmtime::Result<Head> {
    let response = match service.handle(accessor, request).await? {
        Ok(response) => response,
        Err(code) => return Ok(Err(error_code::of_03(code))),
    };
    let (delivered, was_delivered) = oneshot::channel::<()>();
    // The guest may wait for its response to be sent before it ends.
    let result = async move {
        let _ = was_delivered.await;
        Ok(())
    };
    let response = accessor.with(|store| response.into_http(store, result))?;
    Ok(Ok(response.map(|body| {
        Delivered {
            body,
            _told: delivered,
        }
        .boxed_unsync()
    })))
}

/// A body that tells its guest when nobody reads it any more.
struct Delivered {
    body: WasiBody,
    /// Dropped, it is told.
    _told: oneshot::Sender<()>,
}

impl Body for Delivered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Calls of components of `wasi:http/service` (WASI 0.3).

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
use crate::sandbox::head::{Head, HeadSlot};
use crate::sandbox::request::{self, RequestBodyError};

/// Calls `handler.handle`, and returns when the guest has nothing left to do: it may work for long
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
    let request = request_resource(store.data_mut(), request::for_guest(request));
    let ran = store
        .run_concurrent(async |accessor| {
            head.set(answer(accessor, service, request).await?);
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            wasmtime::error::Ok(())
        })
        .await;
    ran.flatten().map_err(Failure::of_guest)
}

/// The request as the guest gets it, of a type that does not depend on the sender's body.
pub(crate) fn erased<B>(request: Request<B>) -> Request<WasiBody>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    request::for_guest(request).map(BodyExt::boxed_unsync)
}

/// Makes the `request` resource that the guest is called with.
pub(crate) fn request_resource<B>(guest: &mut Guest, request: Request<B>) -> p3::Request
where
    B: Body<Data = Bytes, Error = Error> + Send + 'static,
{
    // The second value is how the guest judges the body, which nothing here depends on.
    let (request, _result) = p3::Request::from_http(guest.host_view().hooks, request);
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
    // The guest may wait until its response has been sent: resolved when the body below is dropped.
    let result = async move {
        let _ = was_delivered.await;
        Ok(())
    };
    let response = accessor.with(|store| response.into_http(store, result))?;
    Ok(Ok(response.map(|body| {
        DeliveredBody {
            body,
            _delivered: delivered,
        }
        .boxed_unsync()
    })))
}

/// A body that notifies its guest when it has been read or dropped.
struct DeliveredBody {
    body: WasiBody,
    /// Its drop is the notification.
    _delivered: oneshot::Sender<()>,
}

impl Body for DeliveredBody {
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

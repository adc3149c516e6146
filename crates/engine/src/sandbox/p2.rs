//! Calls of components of `wasi:http/proxy` (WASI 0.2).

use bytes::Bytes;
use http::{Request, uri};
use http_body::Body;
use http_body_util::Empty;
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use crate::Failure;
use crate::sandbox::guest::Guest;
use crate::sandbox::head::HeadSlot;
use crate::sandbox::request::{self, RequestBodyError};

/// Calls `incoming-handler.handle` and returns when it does.
pub(crate) async fn serve<B>(
    store: &mut Store<Guest>,
    proxy: &Proxy,
    request: Request<B>,
    head: &HeadSlot,
) -> Result<(), Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<RequestBodyError>,
{
    let request = request::for_guest(request);
    let scheme = match request.uri().scheme() {
        Some(scheme) if *scheme == uri::Scheme::HTTPS => Scheme::Https,
        _ => Scheme::Http,
    };
    let mut view = store.data_mut().host_view();
    let incoming = if request.body().is_end_stream() {
        // The body is boxed; an empty type needs no allocation for that.
        view.new_incoming_request(scheme, request.map(|_| Empty::new()))
    } else {
        view.new_incoming_request(scheme, request)
    };
    let incoming = incoming.map_err(Failure::Request)?;
    let head = head.clone();
    let out = store
        .data_mut()
        .http()
        .new_response_outparam_from_callback(move |response| head.set(response))
        .map_err(Failure::Request)?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(store, incoming, out)
        .await
        .map_err(Failure::of_guest)
}

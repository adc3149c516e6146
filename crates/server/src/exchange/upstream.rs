//! Forwards requests to upstreams, within the limit on connections to them.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_message::BoxError;
use proxy::Proxy;

use super::request_body::RequestBody;
use crate::limits::HeldUploads;
use crate::response::{Content, page};
use crate::shared::Shared;

/// Has another server answer. With `holds`, a body of unknown length is held back until it is whole.
pub(crate) async fn forward(
    server: &Shared,
    proxy: &Proxy,
    request: Request<RequestBody>,
    holds: bool,
) -> Response<Content> {
    if !(holds && HeldUploads::concern(&request)) {
        return send(server, proxy, request).await;
    }
    match server.uploads.hold(request).await {
        Ok(request) => send(server, proxy, request).await,
        Err(status) => page::refused(status),
    }
}

async fn send<B>(server: &Shared, proxy: &Proxy, request: Request<B>) -> Response<Content>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Some(permit) = server.exchanges.permit(proxy) else {
        return page::error(StatusCode::SERVICE_UNAVAILABLE);
    };
    match proxy.send_with(request, permit).await {
        Ok(response) => response.map(Content::upstream),
        Err(error) if error.status().is_client_error() => page::refused(error.status()),
        Err(error) => page::error(error.status()),
    }
}

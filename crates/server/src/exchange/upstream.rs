//! Requests that are sent on to other servers, and what comes of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_message::BoxError;
use proxy::{Proxy, ProxyError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::client_io::ClientIo;
use crate::counters::InRequest;
use crate::exchange::request_body::RequestBody;
use crate::limits::held_uploads::HeldUploads;
use crate::response::body::ResponseBody;
use crate::response::page;
use crate::server::Shared;

/// Has another server answer. With `holds`, a body of unknown length is held back until it is whole.
pub(crate) async fn forward(
    server: &Shared,
    proxy: &Proxy,
    request: Request<RequestBody>,
    holds: bool,
) -> Response<ResponseBody> {
    if !(holds && HeldUploads::concern(&request)) {
        return send(server, proxy, request).await;
    }
    match server.uploads.hold(request).await {
        Ok(request) => send(server, proxy, request).await,
        Err(status) => page::refused(status),
    }
}

async fn send<B>(server: &Shared, proxy: &Proxy, request: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Some(permit) = server.exchanges.permit(proxy) else {
        return page::error(StatusCode::SERVICE_UNAVAILABLE);
    };
    match proxy.send_with(request, permit).await {
        Ok(response) => response.map(|body| ResponseBody::proxied(Proxied::new(body))),
        Err(error) if error.status().is_client_error() => page::refused(error.status()),
        Err(error) => page::error(error.status()),
    }
}

/// A limit on the connections to other servers that are open at a time.
pub(crate) struct Exchanges {
    free: Arc<Semaphore>,
    limit: usize,
}

impl Exchanges {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// What a connection has for as long as it is open. Idle ones are closed if there is no other way.
    fn permit(&self, proxy: &Proxy) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Some(permit);
            }
            if !proxy.close_longest_idle() {
                tracing::warn!(
                    "the limit on connections to other servers ({}) is reached; answering 503",
                    self.limit
                );
                return None;
            }
        }
    }
}

/// The body of another server's response.
pub(crate) struct Proxied {
    body: proxy::ResponseBody,
    /// Why it is cut off, which is not told yet.
    failure: Option<ProxyError>,
}

impl Proxied {
    fn new(body: proxy::ResponseBody) -> Self {
        Self {
            body,
            failure: None,
        }
    }

    /// What the request has become, if it was switched to another protocol.
    pub(crate) fn tunnel(&mut self) -> Option<proxy::Tunnel> {
        self.body.take_tunnel()
    }
}

impl Body for Proxied {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(failure))) => {
                // hyper drops what it has not flushed when a body fails, the head included. It
                // flushes when there is nothing more to be had for the moment, so that comes first.
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the last request of a connection has left of it.
pub(crate) struct Switched {
    /// Bytes both ways, between a client and another server.
    pub(crate) tunnel: proxy::Tunnel,
    /// The request goes on for as long.
    pub(crate) in_request: InRequest,
}

impl Switched {
    /// Carries bytes until both sides have ended. Dropped, it ends both.
    pub(crate) async fn run(self, client: ClientIo) {
        let Self {
            tunnel,
            in_request: _in_request,
        } = self;
        match tunnel.run_with(client).await {
            Ok((up, down)) => {
                tracing::debug!("a tunnel ended: {up} bytes to the server, {down} to the client");
            }
            // Who of the two has left is not for the server's log.
            Err(error) => tracing::debug!("a tunnel ended: {error}"),
        }
    }
}

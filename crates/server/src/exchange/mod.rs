//! One request, from its head to its response: [`Service::respond`] lists the stages.

mod client_body;
mod gathering;
mod request_body;
mod upstream;

pub(crate) use client_body::{ClientBody, MAX_DISCARDED, MAX_SILENCE};

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use engine::{Application, Http1Trailers, RequestId};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version, uri};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use routing::Scheme;

use self::request_body::{BodyFault, RequestBody};
use crate::access_log::{AccessLogEntry, RequestRecord};
use crate::connection_info::ConnectionInfo;
use crate::counters::OpenConnection;
use crate::held::{StreamState, current_stream, head_size};
use crate::link::ConnectionState;
use crate::listener::ListenerId;
use crate::request;
use crate::response::{Content, ResponseBody, ResponseGuards, StreamBody, head, page};
use crate::routes::{Forward, Handler, PendingResponse, Routed, Router, notice};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::snapshot::{SnapshotView, Target};
use crate::tunnel::UpgradedConnection;
use crate::variables::{RequestMeta, RequestSnapshot};

/// The least number of connections at a worker for which responses are batched: with fewer, waiting for others costs
/// more than it saves.
const MIN_CONNECTIONS_FOR_BATCH: u64 = 4;

/// What the requests of one connection share.
pub(crate) struct Service {
    pub(crate) server: Arc<Shared>,
    pub(crate) listener: ListenerId,
    pub(crate) info: ConnectionInfo,
    pub(crate) connected: Arc<OpenConnection>,
    pub(crate) link: ConnectionState,
    /// Its first request was made into one of HTTP/1.1; a further one would not be.
    pub(crate) is_newer_http1: bool,
}

impl Service {
    /// Answers one request. The order of the stages matters.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        // Count the request before anything is awaited: the checks for idle connections and a graceful shutdown
        // must see it.
        let in_request = self.connected.request();
        let first_byte = self.link.take_first_byte();
        let in_flight = self.link.begin();

        // Back-pressure: a client that does not read its responses gets no further ones. And pipelined requests take
        // one turn each.
        // Set by the executor in `connection::http2`, since hyper has no place for it in the request.
        let stream = current_stream();
        if let Some(stream) = &stream {
            stream.wait_for_capacity().await;
        }
        self.link.turn().wait().await;

        // Only one snapshot for all that follows, taken after the waits, so that it is the newest.
        let view = self.server.view(self.listener);
        let version = request.version();
        if version < Version::HTTP_2 && view.times_requests() {
            // The settings may have changed since the connection began.
            self.link.want_first_bytes(true);
        }

        // Check, then route, then make the request that the application or upstream gets.
        let method = request.method().clone();
        let (record, has_content, prepared) = {
            // A block, so that parts and body are not kept in the future, which has room for whatever lives
            // across an `await`.
            let (mut parts, body) = request.into_parts();
            if parts.extensions.get::<OnUpgrade>().is_some() {
                self.link.note_upgrade();
            }
            let body = ClientBody::new(body, &parts, &view.settings, &self.link);
            let has_content = body.has_content();
            let (info, checked) = self.check(&mut parts, &body, &view);
            // Before routing, which may rewrite the target; refused requests are in the access log, too.
            let record = request_record(&parts, first_byte, info, &view);
            let routed = match checked {
                Ok(()) => self.route(&parts, info, &view, record.meta()).await,
                Err(status) => Routed::Respond(page::refused(status)),
            };
            let prepared = match routed {
                Routed::Respond(response) => Err(response),
                Routed::Forward(forward) => self
                    .prepare(forward, parts, body, info.scheme, &view.settings)
                    .map_err(page::refused),
            };
            (record, has_content, prepared)
        };

        // Run the application, or ask the upstream.
        let mut response = match prepared {
            Ok(prepared) => prepared.run(&self, &view.settings, record.meta()).await,
            Err(response) => response,
        };

        // Complete the head. Whether the connection closes is decided after all that may change the head; the entry
        // of the access log keeps the fields, and so comes last.
        head::prepare(&mut response, version, &method, &view.settings.name);
        let ends_connection = self.is_newer_http1 || self.server.is_leaving.load(Ordering::Relaxed);
        if has_content || ends_connection {
            self.announce_close(&mut response, version, ends_connection);
        }
        if response.body().closes_connection {
            self.link.note_close();
        }
        let log_entry = record.into_log_entry(&mut response);

        // Bind the content to the connection, with all that ends with it.
        let in_request = match response.body_mut().take_tunnel() {
            None => Some(in_request),
            Some(tunnel) => {
                self.link.switch(UpgradedConnection { tunnel, in_request });
                None
            }
        };
        let stream = if let Some(stream) = stream {
            Some(bind_to_stream(stream, has_content, &mut response, &method))
        } else {
            self.link.turn().use_up();
            None
        };
        let guards = ResponseGuards {
            in_request,
            // In HTTP/1.0 there is no other way to tell a body's end from a broken connection.
            reset: (version == Version::HTTP_10).then(|| self.link.clone()),
            in_flight,
            stream,
            log_entry,
        };
        Ok(response.map(|content| ResponseBody::new(content, guards)))
    }

    /// Checks that the request is valid, and not too large. Also returns the connection that it came by: for a valid
    /// request, the one that trusted proxies have named.
    fn check(
        &self,
        parts: &mut Parts,
        body: &ClientBody,
        view: &SnapshotView,
    ) -> (ConnectionInfo, Result<(), StatusCode>) {
        if let Err(status) = request::check(parts) {
            return (self.info, Err(status));
        }
        if view.settings.discard_unsafe_fields {
            request::discard_unsafe_fields(&mut parts.headers);
        }
        let info = self
            .info
            .forwarded(view.forwarded.as_deref(), &parts.headers);
        let is_too_large = body.size_hint().lower() > view.settings.max_body_size;
        let checked = if is_too_large {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        } else {
            Ok(())
        };
        (info, checked)
    }

    /// Adds `connection: close` to the head if the connection cannot serve a further request, for example because the
    /// rest of this request's body will not be read.
    fn announce_close(
        &self,
        response: &mut Response<Content>,
        version: Version,
        ends_connection: bool,
    ) {
        if version >= Version::HTTP_2 || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let says_close = ends_connection || head::says_close(response);
        if self.link.drain_queue().close_after_response(says_close) {
            head::close(response, version);
        }
    }

    /// Decides what answers.
    async fn route<'a>(
        &self,
        parts: &Parts,
        info: ConnectionInfo,
        view: &'a SnapshotView,
        meta: Option<&RequestMeta>,
    ) -> Routed<'a> {
        let logs = view.settings.log_route;
        if let Some(meta) = meta.filter(|_| logs) {
            let line = meta.request_line(parts.method.as_str());
            notice!(meta, "http request line \"{line}\"");
        }
        match (&view.target, meta) {
            (Some(Target::Application(application)), _) => {
                Routed::Forward(Forward::to(Handler::Application(application.clone())))
            }
            (Some(Target::Table(table, pass)), Some(meta)) => {
                match Router::new(table, parts, meta, info, logs) {
                    Ok(walk) => walk.route(pass, &self.server.share_files).await,
                    Err(status) => Routed::Respond(page::refused(status)),
                }
            }
            // A table needs metadata, so that this does not happen.
            (Some(Target::Unavailable | Target::Table(..)), _) => {
                Routed::Respond(page::error(StatusCode::SERVICE_UNAVAILABLE))
            }
            (None, _) => Routed::Respond(page::refused(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }

    /// Makes the request that the handler gets.
    ///
    /// # Errors
    ///
    /// The status to refuse the request with, if its host is invalid.
    fn prepare<'a>(
        &self,
        forward: Forward<'a>,
        mut parts: Parts,
        body: ClientBody,
        scheme: Scheme,
        settings: &Settings,
    ) -> Result<Prepared<'a>, StatusCode> {
        let scheme = match scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        };
        let (handler, pending) = forward.split();
        let host = match &handler {
            Handler::Application(application) => {
                application.guest_authority().of_host(&parts.headers)
            }
            Handler::Upstream(_) => None,
        };
        request::make_absolute(&mut parts, scheme, host)?;
        pending.retarget(&mut parts);
        let (timeout, limit) = (settings.timeouts.body_read, settings.max_body_size);
        let body = RequestBody::new(body, timeout, limit, &self.link);
        Ok(Prepared {
            handler,
            pending,
            fault: body.fault(),
            request: Request::from_parts(parts, body),
        })
    }
}

/// A request that is ready for its handler.
struct Prepared<'a> {
    handler: Handler,
    request: Request<RequestBody>,
    /// Where a fault of its body is noted.
    fault: Option<BodyFault>,
    pending: PendingResponse<'a>,
}

impl<'a> Prepared<'a> {
    /// Runs the handler.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` has room for each of its arguments twice, and one for each request is copied"
    )]
    fn run(
        self,
        service: &'a Service,
        settings: &'a Settings,
        meta: Option<&'a RequestMeta>,
    ) -> impl Future<Output = Response<Content>> + Send {
        async move {
            let mut response = match self.handler {
                Handler::Application(application) => {
                    let id = meta.map_or_else(RequestId::next, |meta| meta.id);
                    // In HTTP/2 the connection's own task collects what is to be written.
                    let in_row = self.request.version() < Version::HTTP_2
                        && service.connected.neighbours() >= MIN_CONNECTIONS_FOR_BATCH;
                    let accepts_trailers = request::accepts_trailers(&self.request);
                    let handled = {
                        let mut handling = pin!(application.handle(id, self.request));
                        let unless_gathering = |cx: &mut Context<'_>| {
                            if service.link.gather_orders().is_gathering() {
                                // The connection is polled again when the gathering has ended.
                                return Poll::Pending;
                            }
                            handling.as_mut().poll(cx)
                        };
                        poll_fn(unless_gathering).await
                    };
                    let response = of_guest(handled, &application, id, accepts_trailers);
                    if in_row && !application.cpu_pressure() {
                        // Guests of requests that have arrived run first; then all responses are written in a
                        // row. A write to a sleeping client costs as much as a small guest, mostly for waking the
                        // client, which then happens only once.
                        tokio::task::yield_now().await;
                    }
                    response
                }
                // Boxed, so that the futures of other requests have no room for it.
                Handler::Upstream(proxy) => {
                    let holds = settings.hold_uploads;
                    let sent = upstream::forward(&service.server, &proxy, self.request, holds);
                    Box::pin(sent).await
                }
            };
            if let Some(status) = self.fault.and_then(|fault| fault.status()) {
                return page::refused(status);
            }
            self.pending.set_headers(meta, &mut response);
            response
        }
    }
}

/// The metadata of a request, if routes or the access log need it.
fn request_record(
    parts: &Parts,
    first_byte: Option<Instant>,
    info: ConnectionInfo,
    view: &SnapshotView,
) -> RequestRecord {
    if !view.needs_meta() {
        return RequestRecord::NotNeeded;
    }
    let begun = first_byte.unwrap_or_else(Instant::now);
    let meta = RequestMeta::new(RequestId::next(), parts, begun);
    match &view.settings.access_log {
        None => RequestRecord::Routed(meta),
        Some(log) => {
            let kept = RequestSnapshot::of(parts, info);
            RequestRecord::Logged(Box::new(AccessLogEntry::new(log.clone(), kept, meta)))
        }
    }
}

/// The response of a guest.
fn of_guest(
    handled: Result<Response<engine::Body>, engine::Failure>,
    application: &Application,
    id: RequestId,
    accepts_trailers: Option<bool>,
) -> Response<Content> {
    match handled {
        Ok(mut response) => {
            if let Some(accepts) = accepts_trailers
                && response.body().may_have_trailers()
            {
                let rules = Http1Trailers::new(accepts, response.headers());
                response.body_mut().set_http1(application, id, rules);
            }
            response.map(Content::guest)
        }
        Err(failure) => page::failure(&failure),
    }
}

/// Binds a response to its HTTP/2 stream. Its end is held back while the request is still being sent.
fn bind_to_stream(
    stream: StreamState,
    has_content: bool,
    response: &mut Response<Content>,
    method: &Method,
) -> Box<StreamBody> {
    let delays_end = has_content && stream.drain_queue().is_incomplete();
    let hides_length = delays_end && head::hide_length(response, method);
    stream.hold_head(head_size(response.headers()));
    Box::new(StreamBody::new(stream, delays_end, hides_length))
}

//! One request, from its head to its response.

mod client_body;
mod gathering;
mod request_body;
mod upstream;

pub(crate) use client_body::{ClientBody, MAX_DISCARDED, MAX_SILENCE};

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
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
use self::upstream::forward;
use crate::access_log::{Note, Told};
use crate::connection_info::Ends;
use crate::counters::Connected;
use crate::held::{StreamState, current_stream, head_size};
use crate::link::Link;
use crate::listener::ListenerId;
use crate::request;
use crate::response::{Content, ResponseBody, ResponseGuards, StreamBody, head, page};
use crate::routes::{Passed, Rest, Routed, To, Walk, notice};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::snapshot::{Seen, Target};
use crate::tunnel::Switched;
use crate::variables::{Facts, Kept};

/// Connections of a worker from which on responses are written in a row: with fewer, waiting for others
/// costs more than it saves.
const ROW: u64 = 4;

/// What the requests of one connection share.
pub(crate) struct Service {
    pub(crate) server: Arc<Shared>,
    pub(crate) listener: ListenerId,
    pub(crate) ends: Ends,
    pub(crate) connected: Arc<Connected>,
    pub(crate) link: Link,
    /// Its first request was made into one of HTTP/1.1; a further one would not be.
    pub(crate) is_newer_http1: bool,
}

impl Service {
    /// Answers one request. Each stage has its place for a reason.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        // Count the request before anything is awaited: the checks for idle connections and a graceful shutdown
        // must see it.
        let in_request = self.connected.request();
        let first_byte = self.link.take_first_byte();
        let open = self.link.begin();

        // Back-pressure: a client that does not take its responses gets no further ones, and pipelined requests
        // take one turn each.
        let stream = current_stream();
        if let Some(stream) = &stream {
            stream.wait_for_capacity().await;
        }
        self.link.turn().wait().await;

        // One snapshot for all that follows, the newest there is: after the waits, and only once.
        let seen = self.server.see(self.listener);
        let version = request.version();
        if version < Version::HTTP_2 && seen.times_requests() {
            // The settings may have changed since the connection began.
            self.link.want_first_bytes(true);
        }

        // Check, then route, then make of it what the application or upstream is to get.
        let method = request.method().clone();
        let (told, has_content, prepared) = {
            // A block, so that parts and body are not kept in the future, which has room for whatever lives
            // across an `await`.
            let (mut parts, body) = request.into_parts();
            if parts.extensions.get::<OnUpgrade>().is_some() {
                self.link.note_upgrade();
            }
            let body = ClientBody::new(body, &parts, &seen.settings, &self.link);
            let has_content = body.has_content();
            let (ends, checked) = self.check(&mut parts, &body, &seen);
            // Before routing, which may rewrite the target; refused requests are in the access log, too.
            let told = told(&parts, first_byte, ends, &seen);
            let routed = match checked {
                Ok(()) => self.route(&parts, ends, &seen, told.facts()).await,
                Err(status) => Routed::Here(page::refused(status)),
            };
            let prepared = match routed {
                Routed::Here(response) => Err(response),
                Routed::To(passed) => self
                    .prepare(passed, parts, body, ends.scheme, &seen.settings)
                    .map_err(page::refused),
            };
            (told, has_content, prepared)
        };

        // Have the application or upstream answer.
        let mut response = match prepared {
            Ok(prepared) => prepared.run(&self, &seen.settings, told.facts()).await,
            Err(response) => response,
        };

        // Complete the head. What decides whether the connection closes comes last but one, and the access log
        // last: it is to have the head as it is sent.
        head::prepare(&mut response, version, &method, &seen.settings.name);
        if has_content || self.is_newer_http1 {
            self.announce_close(&mut response, version);
        }
        if response.body().closes_connection {
            self.link.note_close();
        }
        let note = told.note(&mut response);

        // Bind the content to the connection, with all that ends with it.
        let in_request = match response.body_mut().take_tunnel() {
            None => Some(in_request),
            Some(tunnel) => {
                self.link.switch(Switched { tunnel, in_request });
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
            open,
            stream,
            note,
        };
        Ok(response.map(|content| ResponseBody::new(content, guards)))
    }

    /// Whether the request is one, and not too large; and between which ends: those that a trusted proxy has named,
    /// if the request is valid.
    fn check(
        &self,
        parts: &mut Parts,
        body: &ClientBody,
        seen: &Seen,
    ) -> (Ends, Result<(), StatusCode>) {
        if let Err(status) = request::check(parts) {
            return (self.ends, Err(status));
        }
        if seen.settings.discard_unsafe_fields {
            request::discard_unsafe_fields(&mut parts.headers);
        }
        let ends = self.ends.forwarded(seen.forwarded.as_deref(), &parts.headers);
        let is_too_large = body.size_hint().lower() > seen.settings.max_body_size;
        let checked = if is_too_large {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        } else {
            Ok(())
        };
        (ends, checked)
    }

    /// Has the head say `connection: close` where the connection cannot serve a further request: the
    /// rest of this one's body is not going to be read, for one.
    fn announce_close(&self, response: &mut Response<Content>, version: Version) {
        if version >= Version::HTTP_2 || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let says_close = self.is_newer_http1 || head::says_close(response);
        if self.link.drain_queue().close_after_response(says_close) {
            head::close(response, version);
        }
    }

    /// Finds out who answers.
    async fn route<'a>(
        &self,
        parts: &Parts,
        ends: Ends,
        seen: &'a Seen,
        facts: Option<&Facts>,
    ) -> Routed<'a> {
        let logs = seen.settings.log_route;
        if let Some(facts) = facts.filter(|_| logs) {
            let line = facts.request_line(parts.method.as_str());
            notice!(facts, "http request line \"{line}\"");
        }
        match (&seen.target, facts) {
            (Some(Target::Application(application)), _) => {
                Routed::To(Passed::to(To::Application(application.clone())))
            }
            (Some(Target::Table(table, pass)), Some(facts)) => {
                match Walk::new(table, parts, facts, ends, logs) {
                    Ok(walk) => walk.go(pass, &self.server.share_files).await,
                    Err(status) => Routed::Here(page::refused(status)),
                }
            }
            // With a table there are facts.
            (Some(Target::Unavailable | Target::Table(..)), _) => {
                Routed::Here(page::error(StatusCode::SERVICE_UNAVAILABLE))
            }
            (None, _) => Routed::Here(page::refused(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }

    /// Makes the request what somebody else is to have.
    ///
    /// # Errors
    ///
    /// The status to refuse the request with, where its host is at fault.
    fn prepare<'a>(
        &self,
        passed: Passed<'a>,
        mut parts: Parts,
        body: ClientBody,
        scheme: Scheme,
        settings: &Settings,
    ) -> Result<Prepared<'a>, StatusCode> {
        let scheme = match scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        };
        let (to, rest) = passed.part();
        let host = match &to {
            To::Application(application) => application.guest_authority().of_host(&parts.headers),
            To::Upstream(_) => None,
        };
        request::make_absolute(&mut parts, scheme, host)?;
        rest.retarget(&mut parts);
        let (timeout, limit) = (settings.timeouts.body_read, settings.max_body_size);
        let body = RequestBody::new(body, timeout, limit, &self.link);
        Ok(Prepared {
            to,
            rest,
            fault: body.fault(),
            request: Request::from_parts(parts, body),
        })
    }
}

/// A request that is ready for who answers it.
struct Prepared<'a> {
    to: To,
    request: Request<RequestBody>,
    /// What becomes of its body.
    fault: Option<BodyFault>,
    rest: Rest<'a>,
}

impl<'a> Prepared<'a> {
    /// Has somebody else answer.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` has room for each of its arguments twice, and one for each request is copied"
    )]
    fn run(
        self,
        service: &'a Service,
        settings: &'a Settings,
        facts: Option<&'a Facts>,
    ) -> impl Future<Output = Response<Content>> + Send {
        async move {
            let mut response = match self.to {
                To::Application(application) => {
                    let id = facts.map_or_else(RequestId::next, |facts| facts.id);
                    // In HTTP/2 the connection's own task collects what is to be written.
                    let in_row = self.request.version() < Version::HTTP_2
                        && service.connected.neighbours() >= ROW;
                    let accepts_trailers = request::accepts_trailers(&self.request);
                    let handled = {
                        let mut handling = pin!(application.handle(id, self.request));
                        let unless_gathering = |cx: &mut Context<'_>| {
                            if service.link.gatherings().is_gathering() {
                                // The connection is polled again when that is over.
                                return Poll::Pending;
                            }
                            handling.as_mut().poll(cx)
                        };
                        poll_fn(unless_gathering).await
                    };
                    let response = of_guest(handled, &application, id, accepts_trailers);
                    if in_row && application.turns_are_short() {
                        // Those first whose requests are here already: responses then go out in a row.
                        // A write that finds its client asleep costs as much as a small guest, most of it
                        // for waking the client up; that is done once for all that it waits for.
                        tokio::task::yield_now().await;
                    }
                    response
                }
                // Apart, so that other requests take no room for it.
                To::Upstream(proxy) => {
                    let holds = settings.hold_uploads;
                    let sent = forward(&service.server, &proxy, self.request, holds);
                    Box::pin(sent).await
                }
            };
            if let Some(status) = self.fault.and_then(|fault| fault.status()) {
                return page::refused(status);
            }
            self.rest.set_headers(facts, &mut response);
            response
        }
    }
}

/// What somebody may ask about a request.
fn told(parts: &Parts, first_byte: Option<Instant>, ends: Ends, seen: &Seen) -> Told {
    if !seen.needs_facts() {
        return Told::Nothing;
    }
    let begun = first_byte.unwrap_or_else(Instant::now);
    let facts = Facts::new(RequestId::next(), parts, begun);
    match &seen.settings.access_log {
        None => Told::Asked(facts),
        Some(log) => {
            let kept = Kept::of(parts, ends);
            Told::Noted(Box::new(Note::new(log.clone(), kept, facts)))
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

/// Makes of a response one for this stream of HTTP/2. Its end is held back while the request is still being sent.
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

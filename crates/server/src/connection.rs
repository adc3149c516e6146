use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use engine::{Application, Http1Trailers, RequestId};
use http::request::Parts;
use http::uri;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use routing::Scheme;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use crate::access_log::{Note, Told};
use crate::counters::Connected;
use crate::drain::ClientBody;
use crate::head;
use crate::held::{ConnectionHeld, WriteStalls};
use crate::http2::Streams;
use crate::io::{ClientIo, Link, Socket};
use crate::linger::linger;
use crate::listener::{Closing, ListenerId};
use crate::opening::{self, Opening};
use crate::request_body::RequestBody;
use crate::response::ResponseBody;
use crate::route::{Ends, Passed, Routed, To, Walk, notice};
use crate::server::{Seen, Shared, Target};
use crate::settings::Settings;
use crate::socket::Accepted;
use crate::timeouts::Timeouts;
use crate::upstream::{Switched, forward};
use crate::variables::{Facts, Kept};
use crate::{http1, http2, page, request, tls};

/// Bytes of a request's header section, request line included. As much as Unit's default
/// buffers take. At the edge: 431 in HTTP/1, a refused stream in HTTP/2. At most 100 fields are
/// taken in HTTP/1, with the same answer.
pub const MAX_HEADER_SECTION: usize = 32 * 1024;

/// How long a connection that has just been accepted may still begin its first request when its
/// listener closes: its bytes may be on their way.
const CLOSING_GRACE: Duration = Duration::from_millis(250);

/// Connections of a worker from which on responses are written in a row: with fewer, waiting for others
/// costs more than it saves.
const ROW: u64 = 4;

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: Accepted,
    listener: ListenerId,
    mut ends: Ends,
    connected: Arc<Connected>,
    mut closing: Closing,
    server: Arc<Shared>,
    _place: Option<OwnedSemaphorePermit>,
) {
    let timeouts = &server.timeouts();
    let first_by = Deadline::now() + timeouts.header_read;

    // Here, so that its events come to this thread.
    let stream = match stream.watched() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!("a connection is given up: {error}");
            return;
        }
    };
    let link = Link::default();
    link.want_first_bytes(server.times_requests(listener));
    let socket = Socket::new(stream, timeouts.send, link.clone());
    let tls = server.tls(listener);
    if tls.is_some() {
        ends.scheme = Scheme::Https;
    }
    let closes = async {
        closing.wait().await;
        tokio::time::sleep(CLOSING_GRACE).await;
    };
    let begun = tokio::select! {
        biased;
        begun = timeout_at(first_by, begin(socket, tls)) => begun.unwrap_or_else(|late| Err(late.into())),
        () = closes => return,
    };
    let (mut io, opening) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // A client that breaks off, or that TLS cannot be spoken with, is no event.
            tracing::debug!("a connection did not begin: {error}");
            return;
        }
    };
    let refusal = match opening {
        Opening::Http1 | Opening::NewerHttp1 | Opening::Http2 => None,
        Opening::UnknownVersion => Some(page::last_words(StatusCode::HTTP_VERSION_NOT_SUPPORTED)),
        Opening::WithoutTls => Some(page::tls_expected()),
        Opening::Closed => return,
    };
    if let Some(page) = refusal {
        refuse(io, &page, timeouts, &mut closing).await;
        return;
    }

    let (held, worker) = (Arc::clone(&server.held), connected.worker());
    let service = Arc::new(Service {
        server: Arc::clone(&server),
        listener,
        ends,
        connected,
        link: link.clone(),
        is_newer_http1: opening == Opening::NewerHttp1,
    });
    let ended = if opening == Opening::Http2 {
        link.want_first_bytes(false);
        // In a box, which is gone when the head of the response is: hyper would keep the room for it, some
        // 28 KiB, for as long as a stream waits for its client.
        let respond = service_fn(move |request| Box::pin(Arc::clone(&service).respond(request)));
        let streams = Streams {
            workers: Arc::clone(&server.workers),
            home: worker,
            held: ConnectionHeld::new(held, worker, link.clone(), timeouts.send),
            timeout: timeouts.send,
        };
        http2::serve(
            io,
            respond,
            &link,
            timeouts,
            first_by,
            &mut closing,
            streams,
        )
        .await
    } else {
        let respond = service_fn(move |request| Arc::clone(&service).respond(request));
        io.count_write_stalls(WriteStalls::new(held, worker, link.clone(), timeouts.send));
        let ended = http1::serve(io, respond, &link, timeouts, first_by, &mut closing).await;
        if let Some(switched) = link.take_switched()
            && ended.is_ok()
        {
            // Here, where the connection has its place, and is waited for when the listener closes.
            Box::pin(switched.run()).await;
        }
        ended
    };
    if let Err(error) = ended {
        // Syntax errors, timeouts and clients that left are no events for the server's log.
        tracing::debug!("a connection ended: {error}");
    }
}

/// Waits for the client, speaks TLS where that is spoken, and finds out what is spoken then.
async fn begin(socket: Socket, tls: Option<Arc<ServerConfig>>) -> io::Result<(ClientIo, Opening)> {
    socket.stream().readable().await?;
    let Some(tls) = tls else {
        socket.note_read();
        let mut read_ahead = BytesMut::new();
        let opening = opening::read(socket.stream(), &mut read_ahead).await?;
        opening.rewrite_version(&mut read_ahead);
        let mut io = ClientIo::plain(socket);
        io.put_back(read_ahead.freeze());
        return Ok((io, opening));
    };
    // In a box, so that connections without TLS are none the larger for it.
    Box::pin(tls::begin(socket, tls)).await
}

async fn refuse(mut io: ClientIo, page: &str, timeouts: &Timeouts, closing: &mut Closing) {
    if let Ok(Ok(())) = timeout(timeouts.send, io.write_all(page.as_bytes())).await {
        linger(io, closing).await;
    }
}

/// What the requests of one connection share.
struct Service {
    server: Arc<Shared>,
    listener: ListenerId,
    ends: Ends,
    connected: Arc<Connected>,
    link: Link,
    /// Its first request was made into one of HTTP/1.1; a further one would not be.
    is_newer_http1: bool,
}

impl Service {
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let in_request = self.connected.request();
        let first_byte = self.link.take_first_byte();
        let open = self.link.begin();
        let stream = http2::stream_held();
        if let Some(stream) = &stream {
            stream.room().await;
        }
        self.link.turn().wait().await;
        let seen = self.server.see(self.listener);
        let version = request.version();
        if version < Version::HTTP_2 && seen.times_requests() {
            // The settings may have changed since the connection began.
            self.link.want_first_bytes(true);
        }
        let (mut parts, body) = request.into_parts();
        let method = parts.method.clone();
        let body = ClientBody::new(body, &parts, &seen.settings, &self.link);
        let has_content = body.has_content();
        let mut ends = self.ends;
        let checked = check(&mut parts, &body, &mut ends, &seen);
        let told = told(&parts, first_byte, ends, &seen);
        let mut response = match checked {
            Ok(()) => self.answer(parts, body, ends, &seen, told.facts()).await,
            Err(status) => page::refused(status),
        };
        head::prepare(&mut response, version, &method, &seen.settings.name);
        if has_content || self.is_newer_http1 {
            self.announce_close(&mut response, version);
        }
        let note = told.note(&mut response);
        let body = response.body_mut();
        body.note = note;
        match body.tunnel() {
            None => body.in_request = Some(in_request),
            Some(tunnel) => self.link.switch(Switched { tunnel, in_request }),
        }
        // In HTTP/1.0 there is no other way to tell a body's end from a broken connection.
        body.reset = (version == Version::HTTP_10).then(|| self.link.clone());
        body.open = Some(open);
        body.stream = stream;
        if has_content && body.delay_end() {
            head::hide_length(&mut response, &method);
        }
        if version < Version::HTTP_2 {
            self.link.turn().use_up();
        }
        Ok(response)
    }

    /// Has the head say `connection: close` where the connection cannot serve a further request: the
    /// rest of this one's body is not going to be read, for one.
    fn announce_close(&self, response: &mut Response<ResponseBody>, version: Version) {
        if version >= Version::HTTP_2 || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let says_close = self.is_newer_http1 || head::says_close(response);
        if self.link.drain_queue().close_after_response(says_close) {
            head::close(response, version);
        }
    }

    async fn answer(
        &self,
        parts: Parts,
        body: ClientBody,
        ends: Ends,
        seen: &Seen,
        facts: Option<&Facts>,
    ) -> Response<ResponseBody> {
        let logs = seen.settings.log_route;
        if let Some(facts) = facts.filter(|_| logs) {
            let line = facts.request_line(parts.method.as_str());
            notice!(facts, "http request line \"{line}\"");
        }
        let passed = match (&seen.target, facts) {
            (Some(Target::Application(application)), _) => {
                Passed::to(To::Application(application.clone()))
            }
            (Some(Target::Table(table, pass)), Some(facts)) => {
                let routed = match Walk::new(table, &parts, facts, ends, logs) {
                    Ok(walk) => walk.go(pass).await,
                    Err(status) => return page::refused(status),
                };
                match routed {
                    Routed::Here(response) => return response,
                    Routed::To(passed) => passed,
                }
            }
            // With a table there are facts.
            (Some(Target::Unavailable | Target::Table(..)), _) => {
                return page::error(StatusCode::SERVICE_UNAVAILABLE);
            }
            (None, _) => return page::refused(StatusCode::SERVICE_UNAVAILABLE),
        };
        let sent = self
            .pass(passed, parts, body, ends.scheme, &seen.settings, facts)
            .await;
        sent.unwrap_or_else(page::refused)
    }

    /// Has somebody else answer.
    ///
    /// # Errors
    ///
    /// The status to refuse the request with, where its host or its body is at fault.
    async fn pass(
        &self,
        passed: Passed<'_>,
        mut parts: Parts,
        body: ClientBody,
        scheme: Scheme,
        settings: &Settings,
        facts: Option<&Facts>,
    ) -> Result<Response<ResponseBody>, StatusCode> {
        let scheme = match scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        };
        let (to, rest) = passed.part();
        request::make_absolute(&mut parts, scheme)?;
        rest.retarget(&mut parts);
        // In HTTP/2 the connection's own task collects what is to be written.
        let in_row = parts.version < Version::HTTP_2 && self.connected.neighbours() >= ROW;
        let (timeout, limit) = (settings.timeouts.body_read, settings.max_body_size);
        let body = RequestBody::new(body, timeout, limit, &self.link);
        let fault = body.fault();
        let request = Request::from_parts(parts, body);
        let mut response = match to {
            To::Application(application) => {
                let id = facts.map_or_else(RequestId::next, |facts| facts.id);
                run(&application, id, request, in_row, &self.link).await
            }
            // Apart, so that other requests take no room for it.
            To::Upstream(proxy) => {
                let sent = forward(&self.server, &proxy, request, settings.hold_uploads);
                Box::pin(sent).await
            }
        };
        if let Some(status) = fault.and_then(|fault| fault.status()) {
            return Err(status);
        }
        rest.set_headers(facts, &mut response);
        Ok(response)
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

/// Has an application answer.
async fn run(
    application: &Application,
    id: RequestId,
    request: Request<RequestBody>,
    in_row: bool,
    link: &Link,
) -> Response<ResponseBody> {
    let accepts_trailers = request::accepts_trailers(&request);
    let mut response = pin!(application.handle(id, request));
    let response = poll_fn(|cx| {
        if link.gatherings().is_gathering() {
            // The connection is polled again when that is over.
            return Poll::Pending;
        }
        response.as_mut().poll(cx)
    });
    let response = match response.await {
        Ok(mut response) => {
            if let Some(accepts) = accepts_trailers
                && response.body().may_have_trailers()
            {
                let rules = Http1Trailers::new(accepts, response.headers());
                response.body_mut().set_http1(application, id, rules);
            }
            response.map(ResponseBody::guest)
        }
        Err(failure) => page::failure(&failure),
    };
    if in_row && application.turns_are_short() {
        // Those first whose requests are here already: responses then go out in a row.
        // A write that finds its client asleep costs as much as a small guest, most of it
        // for waking the client up; that is done once for all that it waits for.
        tokio::task::yield_now().await;
    }
    response
}

/// Whether the request is one, and none too large. Afterwards its ends are those that a proxy has
/// named, if it is believed.
fn check(
    parts: &mut Parts,
    body: &ClientBody,
    ends: &mut Ends,
    seen: &Seen,
) -> Result<(), StatusCode> {
    request::check(parts)?;
    if seen.settings.discard_unsafe_fields {
        request::discard_unsafe_fields(&mut parts.headers);
    }
    for forwarded in seen.forwarded.iter().flat_map(|all| all.iter()) {
        (ends.source, ends.scheme) = forwarded.apply(ends.source, ends.scheme, &parts.headers);
    }
    if body.size_hint().lower() > seen.settings.max_body_size {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(())
}

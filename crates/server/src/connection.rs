use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use engine::{Application, RequestId};
use http::header::SERVER;
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use routing::Scheme;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OwnedSemaphorePermit;

use crate::access_log::Note;
use crate::counters::Connected;
use crate::http2::Progress;
use crate::io::{ClientIo, Link, Socket};
use crate::listener::{Closing, ListenerId};
use crate::opening::{self, Opening};
use crate::request_body::RequestBody;
use crate::response::ResponseBody;
use crate::route::{Ends, Routed, To, Walk, notice};
use crate::server::{Seen, Shared, Target};
use crate::socket::Stream;
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

/// Connections from which on responses are written in a row: with fewer, waiting for others costs more
/// than it saves.
const ROW: u64 = 4;

/// Bytes that are still read of a client that has its final answer.
const MAX_UNREAD: u64 = 64 * 1024;

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: Stream,
    listener: ListenerId,
    mut ends: Ends,
    connected: Arc<Connected>,
    mut closing: Closing,
    server: Arc<Shared>,
    _place: Option<OwnedSemaphorePermit>,
) {
    let timeouts = &server.timeouts();

    let link = Link::default();
    let socket = Socket::new(stream, timeouts.send, link.clone());
    let tls = server.tls(listener);
    if tls.is_some() {
        ends.scheme = Scheme::Https;
    }
    let closes = async {
        closing.wait().await;
        tokio::time::sleep(CLOSING_GRACE).await;
    };
    let opening = async {
        tokio::time::timeout(timeouts.idle, socket.stream().readable()).await??;
        let Some(tls) = tls else {
            let mut read_ahead = BytesMut::new();
            let opening = opening::read(socket.stream(), &mut read_ahead);
            let opening = tokio::time::timeout(timeouts.header_read, opening).await??;
            let mut io = ClientIo::plain(socket);
            io.put_back(read_ahead.freeze());
            return Ok((io, opening));
        };
        // In a box, so that connections without TLS are none the larger for it.
        Box::pin(tls::begin(socket, tls, timeouts)).await
    };
    let opening: io::Result<_> = tokio::select! {
        biased;
        opening = opening => opening,
        () = closes => return,
    };
    let (io, opening) = match opening {
        Ok(begun) => begun,
        Err(error) => {
            // A client that breaks off, or that TLS cannot be spoken with, is no event.
            tracing::debug!("a connection did not begin: {error}");
            return;
        }
    };
    let refusal = match opening {
        Opening::Http1 | Opening::Http2 => None,
        Opening::UnknownVersion => Some(page::last_words(StatusCode::HTTP_VERSION_NOT_SUPPORTED)),
        Opening::WithoutTls => Some(page::tls_expected()),
        Opening::Closed => return,
    };
    if let Some(page) = refusal {
        let _ = tokio::time::timeout(timeouts.send, refuse(io, &page)).await;
        return;
    }

    let service = Arc::new(Service {
        server: Arc::clone(&server),
        listener,
        ends,
        connected,
        link: link.clone(),
    });
    let respond = service_fn(move |request| Arc::clone(&service).respond(request));
    let ended = if opening == Opening::Http2 {
        http2::serve(io, respond, &link, timeouts, &mut closing).await
    } else {
        let ended = http1::serve(io, respond, &link, timeouts, &mut closing).await;
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

async fn refuse(mut io: ClientIo, page: &str) -> io::Result<()> {
    io.write_all(page.as_bytes()).await?;
    io.shutdown().await?;
    // To close with bytes unread resets the connection, which may take the answer along.
    let mut unread = io.take(MAX_UNREAD);
    tokio::io::copy(&mut unread, &mut tokio::io::sink()).await?;
    Ok(())
}

/// What the requests of one connection share.
struct Service {
    server: Arc<Shared>,
    listener: ListenerId,
    ends: Ends,
    connected: Arc<Connected>,
    link: Link,
}

impl Service {
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let in_request = self.connected.request();
        let open = self.link.begin();
        let version = request.version();
        let mut seen = self.server.see(self.listener);
        let name = seen.name.clone();
        let (mut parts, body) = request.into_parts();
        let mut facts = seen
            .needs_facts()
            .then(|| Facts::new(RequestId::next(), &parts, Instant::now()));
        let mut ends = self.ends;
        let checked = check(&mut parts, &body, &mut ends, &seen);
        let mut note = match (seen.access_log.take(), facts.take()) {
            (Some(log), Some(its)) => Some(Box::new(Note::new(log, Kept::of(&parts, ends), its))),
            (_, its) => {
                facts = its;
                None
            }
        };
        let known = note.as_ref().map(|note| &note.facts).or(facts.as_ref());
        let mut response = match checked {
            Ok(()) => self.answer(parts, body, ends, seen, known).await,
            Err(status) => page::refused(status),
        };
        response.headers_mut().entry(SERVER).or_insert(name);
        if let Some(note) = &mut note {
            note.respond(response.status(), response.headers());
        }
        let body = response.body_mut();
        body.note = note;
        match body.tunnel() {
            None => body.in_request = Some(in_request),
            Some(tunnel) => self.link.switch(Switched { tunnel, in_request }),
        }
        // In HTTP/1.0 there is no other way to tell a body's end from a broken connection.
        body.reset = (version == Version::HTTP_10).then(|| self.link.clone());
        body.open = Some(open);
        body.progress = Progress::of_this_stream();
        Ok(response)
    }

    async fn answer(
        &self,
        parts: Parts,
        body: Incoming,
        ends: Ends,
        seen: Seen,
        facts: Option<&Facts>,
    ) -> Response<ResponseBody> {
        // In HTTP/2 the connection's own task collects what is to be written.
        let in_row = parts.version < Version::HTTP_2 && self.server.counters.open() >= ROW;
        let body = RequestBody::new(body, seen.body_read_timeout, seen.max_body_size, &self.link);
        let fault = body.fault();
        if let Some(facts) = facts.filter(|_| seen.log_route) {
            let line = facts.request_line(parts.method.as_str());
            notice!(facts, "http request line \"{line}\"");
        }
        let response = match (&seen.target, facts) {
            (Some(Target::Application(application)), facts) => {
                let id = facts.map_or_else(RequestId::next, |facts| facts.id);
                run(application, id, Request::from_parts(parts, body), in_row).await
            }
            (Some(Target::Table(table, pass)), Some(facts)) => {
                let walk = Walk::new(table, &parts, facts, ends, seen.log_route);
                let routed = match walk {
                    Ok(walk) => walk.go(pass).await,
                    Err(status) => return page::refused(status),
                };
                match routed {
                    Routed::Here(response) => response,
                    Routed::To(passed) => {
                        let mut parts = parts;
                        let (to, rest) = passed.part();
                        rest.retarget(&mut parts);
                        let request = Request::from_parts(parts, body);
                        let mut response = match to {
                            To::Application(application) => {
                                run(&application, facts.id, request, in_row).await
                            }
                            // Apart, so that other requests take no room for it.
                            To::Upstream(proxy) => Box::pin(forward(&proxy, request)).await,
                        };
                        rest.set_headers(facts, &mut response);
                        response
                    }
                }
            }
            // With a table there are facts.
            (Some(Target::Unavailable | Target::Table(..)), _) => {
                page::error(StatusCode::SERVICE_UNAVAILABLE)
            }
            (None, _) => page::refused(StatusCode::SERVICE_UNAVAILABLE),
        };
        match fault.and_then(|fault| fault.status()) {
            Some(status) => page::refused(status),
            None => response,
        }
    }
}

/// Has an application answer.
async fn run(
    application: &Application,
    id: RequestId,
    request: Request<RequestBody>,
    in_row: bool,
) -> Response<ResponseBody> {
    let response = match application.handle(id, request).await {
        Ok(response) => response.map(ResponseBody::guest),
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

/// Whether the request is one, and none too large. Afterwards its URI is absolute, and its ends are
/// those that a proxy has named, if it is believed.
fn check(
    parts: &mut Parts,
    body: &Incoming,
    ends: &mut Ends,
    seen: &Seen,
) -> Result<(), StatusCode> {
    request::check(parts, ends.scheme)?;
    if seen.discard_unsafe_fields {
        request::discard_unsafe_fields(&mut parts.headers);
    }
    for forwarded in seen.forwarded.iter().flat_map(|all| all.iter()) {
        let scheme = ends.scheme;
        (ends.source, ends.scheme) = forwarded.apply(ends.source, scheme, &parts.headers);
        if ends.scheme != scheme {
            request::set_scheme(parts, ends.scheme);
        }
    }
    if body.size_hint().lower() > seen.max_body_size {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(())
}

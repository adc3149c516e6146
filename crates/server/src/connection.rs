use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use engine::RequestId;
use http::header::SERVER;
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::counters::Connected;
use crate::http2::Progress;
use crate::io::{ClientIo, Link, Socket};
use crate::listener::{Closing, ListenerId};
use crate::opening::{self, Opening};
use crate::request_body::RequestBody;
use crate::response::ResponseBody;
use crate::server::{Shared, Target};
use crate::{http1, http2, page, request, tls};

/// Bytes of a request's header section, request line included. As much as Unit's default
/// buffers take. At the edge: 431 in HTTP/1, a refused stream in HTTP/2. At most 100 fields are
/// taken in HTTP/1, with the same answer.
pub const MAX_HEADER_SECTION: usize = 32 * 1024;

/// How long a connection that has just been accepted may still begin its first request when its
/// listener closes: its bytes may be on their way.
const CLOSING_GRACE: Duration = Duration::from_millis(250);

/// Bytes that are still read of a client that has its final answer.
const MAX_UNREAD: u64 = 64 * 1024;

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: TcpStream,
    listener: ListenerId,
    connected: Arc<Connected>,
    mut closing: Closing,
    server: Arc<Shared>,
    _place: Option<OwnedSemaphorePermit>,
) {
    let timeouts = &server.timeouts;

    let link = Link::default();
    let socket = Socket::new(stream, timeouts.send, link.clone());
    let deadline = async {
        let closing = async {
            closing.wait().await;
            tokio::time::sleep(CLOSING_GRACE).await;
        };
        let _ = tokio::time::timeout(timeouts.header_read, closing).await;
    };
    let tls = server.tls(listener);
    let scheme = if tls.is_some() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let opening = async {
        match tls {
            None => {
                let mut read_ahead = BytesMut::new();
                let opening = opening::read(socket.tcp(), &mut read_ahead).await?;
                let mut io = ClientIo::plain(socket);
                io.put_back(read_ahead.freeze());
                Ok((io, opening))
            }
            // In a box, so that connections without TLS are none the larger for it.
            Some(config) => Box::pin(tls::begin(socket, config)).await,
        }
    };
    let opening: io::Result<_> = tokio::select! {
        biased;
        opening = opening => opening,
        () = deadline => return,
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
        Opening::UnknownVersion => Some(page::version_not_supported()),
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
        connected,
        scheme,
        link: link.clone(),
    });
    let respond = service_fn(move |request| Arc::clone(&service).respond(request));
    let ended = if opening == Opening::Http2 {
        http2::serve(io, respond, &link, timeouts, &mut closing).await
    } else {
        http1::serve(io, respond, &link, timeouts, &mut closing).await
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
    connected: Arc<Connected>,
    /// `https` over TLS.
    scheme: Scheme,
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
        let mut response = self.answer(request).await;
        let body = response.body_mut();
        body.in_request = Some(in_request);
        // In HTTP/1.0 there is no other way to tell a body's end from a broken connection.
        body.reset = (version == Version::HTTP_10).then(|| self.link.clone());
        body.open = Some(open);
        body.progress = Progress::of_this_stream();
        response
            .headers_mut()
            .entry(SERVER)
            .or_insert_with(|| self.server.name.clone());
        Ok(response)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        // In HTTP/2 the connection's own task collects what is to be written.
        let is_alone = request.version() < Version::HTTP_2;
        let (mut parts, body) = request.into_parts();
        if let Err(status) = request::check(&mut parts, &self.scheme) {
            return page::refused(status);
        }
        let body = RequestBody::new(body, self.server.timeouts.body_read, &self.link);
        let fault = body.fault();
        let request = Request::from_parts(parts, body);
        let response = match self.server.target(self.listener) {
            Some(Target::Application(application)) => {
                let response = match application.handle(RequestId::next(), request).await {
                    Ok(response) => response.map(ResponseBody::guest),
                    Err(failure) => page::failure(&failure),
                };
                if is_alone && application.turns_are_short() {
                    // Those first whose requests are here already: responses then go out in a row.
                    // A write that finds its client asleep costs as much as a small guest, most of it
                    // for waking the client up; that is done once for all that it waits for.
                    tokio::task::yield_now().await;
                }
                response
            }
            Some(Target::Unavailable) => page::error(StatusCode::SERVICE_UNAVAILABLE),
            None => page::refused(StatusCode::SERVICE_UNAVAILABLE),
        };
        match fault.and_then(|fault| fault.status()) {
            Some(status) => page::refused(status),
            None => response,
        }
    }
}

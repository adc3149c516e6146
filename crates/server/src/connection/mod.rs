//! Serves connections, and the requests on them.

mod client_io;
mod handshake;
mod http1;
mod http2;
mod idle;
mod limits;
mod linger;
mod protocol;
mod read_turns;
mod stream_turns;

pub use limits::MAX_HEADER_SECTION;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use http_message::raw_error_response;
use hyper::service::service_fn;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use self::client_io::{ClientIo, Socket};
use self::http2::Streams;
use self::linger::linger;
use self::protocol::Opening;
use self::stream_turns::StreamTurns;
use crate::connection_info::Ends;
use crate::counters::Connected;
use crate::exchange::Service;
use crate::held::{ConnectionHeld, WriteStalls};
use crate::link::Link;
use crate::listener::{Closing, ListenerId};
use crate::shared::Shared;
use crate::socket::Accepted;
use crate::timeouts::Timeouts;

/// How long a connection that has just been accepted may still begin its first request when its
/// listener closes: its bytes may be on their way.
const CLOSING_GRACE: Duration = Duration::from_millis(250);

/// The reason phrase for plain HTTP on a TLS listener; the text is Unit's.
const PLAIN_HTTP_OVER_TLS: &str = "The plain HTTP request was sent to HTTPS port";

/// A connection that has just been accepted.
pub(crate) struct NewConnection {
    pub(crate) stream: Accepted,
    pub(crate) listener: ListenerId,
    pub(crate) ends: Ends,
    /// What TLS is spoken with; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) connected: Arc<Connected>,
    /// Its place among all connections, until it ends.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    connection: NewConnection,
    mut closing: Closing,
    server: Arc<Shared>,
) {
    let NewConnection {
        stream,
        listener,
        ends,
        tls,
        connected,
        place: _place,
    } = connection;
    let timeouts = &server.timeouts();
    let first_by = Instant::now() + timeouts.header_read;

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
    let closes = async {
        closing.wait().await;
        tokio::time::sleep(CLOSING_GRACE).await;
    };
    let (mut io, opening) = match tokio::select! {
        biased;
        begun = timeout_at(first_by, begin(socket, tls)) => begun.unwrap_or_else(|late| Err(late.into())),
        () = closes => return,
    } {
        Ok(begun) => begun,
        Err(error) => {
            // A client that breaks off, or that TLS cannot be spoken with, is no event.
            tracing::debug!("a connection did not begin: {error}");
            return;
        }
    };
    let refusal = match opening {
        Opening::Http1 | Opening::NewerHttp1 | Opening::Http2 => None,
        Opening::UnknownVersion => Some(raw_error_response(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            None,
        )),
        Opening::WithoutTls => Some(raw_error_response(
            StatusCode::BAD_REQUEST,
            Some(PLAIN_HTTP_OVER_TLS),
        )),
        Opening::Closed => return,
    };
    if let Some(page) = refusal {
        // Apart, so that other connections take no room for it.
        Box::pin(refuse(io, page, timeouts, &mut closing)).await;
        return;
    }

    let (held, worker) = (Arc::clone(&server.held), connected.worker());
    let service = Arc::new(Service {
        server: Arc::clone(&server),
        listener,
        ends,
        // It counts as open while it lingers, without a service.
        connected: Arc::clone(&connected),
        link: link.clone(),
        is_newer_http1: opening == Opening::NewerHttp1,
    });
    let ended = if opening == Opening::Http2 {
        link.want_first_bytes(false);
        // In a box, which is gone when the head of the response is: hyper would keep the room for it, some
        // 28 KiB, for as long as a stream waits for its client.
        let respond = service_fn(move |request| Box::pin(Arc::clone(&service).respond(request)));
        let held = ConnectionHeld::new(held, worker, link.clone(), timeouts.send);
        io.count_writes(Arc::clone(&held));
        let streams = Streams {
            workers: Arc::clone(&server.workers),
            home: worker,
            turns: StreamTurns::new(server.workers.count()),
            held,
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
        match http1::serve(io, respond, &link, timeouts, first_by, &mut closing).await {
            Ok(Some((switched, io))) => {
                // Here, where the connection has its place, and is waited for when the listener closes.
                Box::pin(switched.run(io)).await;
                Ok(())
            }
            ended => ended.map(drop),
        }
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
        let opening = protocol::read(socket.stream(), &mut read_ahead).await?;
        opening.rewrite_version(&mut read_ahead);
        let mut io = ClientIo::plain(socket);
        io.put_back(read_ahead.freeze());
        return Ok((io, opening));
    };
    // In a box, so that connections without TLS are none the larger for it.
    Box::pin(handshake::begin(socket, tls)).await
}

async fn refuse(mut io: ClientIo, page: String, timeouts: &Timeouts, closing: &mut Closing) {
    if let Ok(Ok(())) = timeout(timeouts.send, io.write_all(page.as_bytes())).await {
        linger(io, closing).await;
    }
}

//! The life of one connection: TLS handshake, protocol, HTTP, end. Answering its requests is the job of
//! `exchange`.

mod client_io;
mod handshake;
mod http1;
mod http2;
mod http2_idle;
mod limits;
mod linger;
mod parking;
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
use self::protocol::Protocol;
use self::stream_turns::StreamTurns;
use crate::connection_info::ConnectionInfo;
use crate::counters::OpenConnection;
use crate::exchange::Service;
use crate::held::{ConnectionHeld, WriteStalls};
use crate::link::ConnectionState;
use crate::listener::{ListenerId, ShutdownSignal};
use crate::shared::Shared;
use crate::socket::AcceptedSocket;
use crate::timeouts::Timeouts;

/// How long a connection that has just been accepted may still begin its first request when its
/// listener closes: its bytes may be on their way.
const CLOSING_GRACE: Duration = Duration::from_millis(250);

/// The reason phrase for plain HTTP on a TLS listener; the text is Unit's.
const PLAIN_HTTP_OVER_TLS: &str = "The plain HTTP request was sent to HTTPS port";

/// A connection that has just been accepted.
pub(crate) struct NewConnection {
    pub(crate) stream: AcceptedSocket,
    pub(crate) listener: ListenerId,
    pub(crate) info: ConnectionInfo,
    /// What TLS is spoken with; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) connected: Arc<OpenConnection>,
    /// Its place among all connections, until it ends.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    connection: NewConnection,
    mut closing: ShutdownSignal,
    server: Arc<Shared>,
) {
    let NewConnection {
        stream,
        listener,
        info,
        tls,
        connected,
        place: _place,
    } = connection;
    let timeouts = &server.timeouts();
    let first_by = Instant::now() + timeouts.header_read;

    // Registered here, so that its events come to this worker's thread.
    let stream = match stream.watched() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(
                "cannot register a new connection with the event loop: {error}; closing it"
            );
            return;
        }
    };
    let link = ConnectionState::default();
    link.want_first_bytes(server.times_requests(listener));
    let socket = Socket::new(stream, timeouts.send, link.clone());
    let closes = async {
        closing.wait().await;
        tokio::time::sleep(CLOSING_GRACE).await;
    };
    let (mut io, protocol) = match tokio::select! {
        biased;
        begun = timeout_at(first_by, begin(socket, tls)) => begun.unwrap_or_else(|late| Err(late.into())),
        () = closes => return,
    } {
        Ok(begun) => begun,
        Err(error) => {
            // Debug only: clients that leave and failed handshakes are the clients' matter.
            tracing::debug!("a connection ended before its first request: {error}");
            return;
        }
    };
    let refusal = match protocol {
        Protocol::Http1 | Protocol::NewerHttp1 | Protocol::Http2 => None,
        Protocol::UnknownVersion => Some(raw_error_response(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            None,
        )),
        Protocol::WithoutTls => Some(raw_error_response(
            StatusCode::BAD_REQUEST,
            Some(PLAIN_HTTP_OVER_TLS),
        )),
        Protocol::Closed => return,
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
        info,
        // It counts as open while it lingers, without a service.
        connected: Arc::clone(&connected),
        link: link.clone(),
        is_newer_http1: protocol == Protocol::NewerHttp1,
    });
    let ended = if protocol == Protocol::Http2 {
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
        match http1::serve(
            io,
            respond,
            &link,
            timeouts,
            first_by,
            &mut closing,
            &connected,
        )
        .await
        {
            Ok(Some((switched, io))) => {
                // Within this task: a tunnel counts as a connection, and a graceful shutdown waits for it.
                Box::pin(switched.run(io)).await;
                Ok(())
            }
            ended => ended.map(drop),
        }
    };
    if let Err(error) = ended {
        // Debug only: syntax errors, timeouts and clients that leave are the clients' matter.
        tracing::debug!("a connection ended: {error}");
    }
}

/// Waits for the client, shakes hands on a listener with TLS, and sniffs the protocol.
async fn begin(socket: Socket, tls: Option<Arc<ServerConfig>>) -> io::Result<(ClientIo, Protocol)> {
    socket.stream().readable().await?;
    let Some(tls) = tls else {
        socket.note_read();
        let mut read_ahead = BytesMut::new();
        let protocol = protocol::read(socket.stream(), &mut read_ahead).await?;
        protocol.rewrite_version(&mut read_ahead);
        let mut io = ClientIo::plain(socket);
        io.unread(read_ahead.freeze());
        return Ok((io, protocol));
    };
    // In a box, so that connections without TLS do not take its room.
    Box::pin(handshake::begin(socket, tls)).await
}

async fn refuse(mut io: ClientIo, page: String, timeouts: &Timeouts, closing: &mut ShutdownSignal) {
    if let Ok(Ok(())) = timeout(timeouts.send, io.write_all(page.as_bytes())).await {
        linger(io, closing).await;
    }
}

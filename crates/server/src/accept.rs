//! Accepts connections, and gives each its task.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use routing::{Endpoint, Scheme};
use tokio::sync::OwnedSemaphorePermit;

use crate::Address;
use crate::connection::{self, NewConnection};
use crate::connection_info::ConnectionInfo;
use crate::listener::{Listener, ShutdownSignal};
use crate::shared::Shared;
use crate::socket::{AcceptedSocket, ListeningSocket};

/// How long accepting pauses when the process or the machine is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the listener is closed.
pub(crate) async fn accept(
    listener: Arc<Listener>,
    closing: ShutdownSignal,
    socket: ListeningSocket,
    server: Arc<Shared>,
) {
    accept_all(&listener, closing, &socket, &server).await;
    drop(socket);
    listener.released.send_replace(true);
}

async fn accept_all(
    listener: &Arc<Listener>,
    mut closing: ShutdownSignal,
    socket: &ListeningSocket,
    server: &Arc<Shared>,
) {
    loop {
        let next = async {
            // A place first: without one, the client waits in the backlog.
            let place = server.place().await;
            (place, socket.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = closing.wait() => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, source)) => spawn(listener, stream, source, place, server),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(
                    "cannot accept connections on {}: {error}; trying again in {} ms",
                    listener.local,
                    ACCEPT_PAUSE.as_millis()
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if let Err(error) = socket.hide() {
        tracing::warn!(
            "cannot remove the socket file of {}: {error}",
            listener.local
        );
    }
    if socket.keeps_backlog() {
        return;
    }
    // Connections that the kernel has taken already would be reset with the socket.
    for _ in 0..=listener.backlog {
        let Some(place) = server.free_place() else {
            break;
        };
        match socket.try_accept() {
            Ok((stream, peer)) => spawn(listener, stream, peer, Some(place), server),
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => break,
        }
    }
}

fn spawn(
    listener: &Arc<Listener>,
    stream: AcceptedSocket,
    source: Endpoint,
    place: Option<OwnedSemaphorePermit>,
    server: &Arc<Shared>,
) {
    if let Err(error) = stream.set_nodelay() {
        tracing::warn!(
            "cannot set TCP_NODELAY for a connection to {}: {error}; its responses may be delayed",
            listener.local
        );
    }
    // Counted before the task is first polled, so that a graceful shutdown cannot overlook it.
    let workers = Arc::clone(&server.workers);
    let connected = Arc::new(workers.place(server.most_workers()));
    let worker = connected.worker();
    let closing = listener.closing();
    let server = Arc::clone(server);
    let tls = server.tls(listener.id);
    let info = ConnectionInfo {
        scheme: tls.as_ref().map_or(Scheme::Http, |_| Scheme::Https),
        source,
        destination: destination(listener, &stream),
    };
    let connection = NewConnection {
        stream,
        listener: listener.id,
        info,
        tls,
        connected,
        place,
    };
    workers.spawn(worker, connection::serve(connection, closing, server));
}

/// The address that the client has connected to.
fn destination(listener: &Listener, stream: &AcceptedSocket) -> Endpoint {
    match listener.local {
        Address::Tcp(local) if local.ip().is_unspecified() => {
            // Fails if the client has left already.
            stream.destination().unwrap_or(Endpoint::Ip(local))
        }
        Address::Tcp(local) => Endpoint::Ip(local),
        Address::Unix(_) | Address::Abstract(_) => Endpoint::Unix,
    }
}

/// Errors of a connection that ended before it was accepted (accept(2)).
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

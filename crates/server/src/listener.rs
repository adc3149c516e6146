use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use routing::{Endpoint, Scheme};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::connection;
use crate::route::Ends;
use crate::server::Shared;

/// How long accepting pauses when the process or the machine is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is listened on.
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    /// As it was asked for.
    pub(crate) address: SocketAddr,
    /// As it is: the same, unless port 0 was asked for.
    pub(crate) local: SocketAddr,
    /// Connections that the kernel keeps for it, at most.
    backlog: u32,
    /// True from the moment that nothing more is accepted: connections finish what they do.
    closing: watch::Sender<bool>,
    /// True once the socket is closed, so that the address is free.
    released: watch::Sender<bool>,
}

/// Tells listeners apart over the life of a server, unlike addresses, which come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ListenerId(pub(crate) u64);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    source: io::Error,
}

impl Listener {
    /// Binds the address. Nothing is accepted yet, but the kernel takes connections from here on.
    pub(crate) fn bind(
        id: ListenerId,
        address: SocketAddr,
        backlog: u32,
    ) -> Result<(Arc<Self>, ListeningSocket), BindError> {
        let bound = ListeningSocket::bind(address, backlog);
        let (local, socket) = bound.map_err(|source| BindError { address, source })?;
        let listener = Self {
            id,
            address,
            local,
            backlog,
            closing: watch::Sender::new(false),
            released: watch::Sender::new(false),
        };
        Ok((Arc::new(listener), socket))
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Whether it accepts, or has connections.
    pub(crate) fn is_in_use(&self) -> bool {
        self.closing.receiver_count() > 0
    }

    /// Waits until its address is free again. It must be closed for that.
    pub(crate) async fn released(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = self
            .released
            .subscribe()
            .wait_for(|released| *released)
            .await;
    }

    /// Waits until it accepts no more and its last connection is gone.
    pub(crate) async fn gone(&self) {
        self.closing.closed().await;
    }

    /// Accepts until the listener is closed.
    pub(crate) async fn accept(self: Arc<Self>, socket: ListeningSocket, server: Arc<Shared>) {
        self.accept_all(&socket, &server).await;
        drop(socket);
        self.released.send_replace(true);
    }

    async fn accept_all(self: &Arc<Self>, socket: &ListeningSocket, server: &Arc<Shared>) {
        let mut closing = Closing(self.closing.subscribe());
        loop {
            let next = async {
                // A place first: whoever finds none waits in the backlog.
                let place = server.place().await;
                (place, socket.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = closing.wait() => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer, place, server),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("accepting on {} pauses: {error}", self.local);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Connections that the kernel has taken already would be reset with the socket.
        for _ in 0..=self.backlog {
            let Some(place) = server.free_place() else {
                break;
            };
            match socket.try_accept() {
                Ok((stream, peer)) => self.spawn(stream, peer, Some(place), server),
                Err(error) if is_about_one_connection(&error) => {}
                Err(_) => break,
            }
        }
    }

    fn spawn(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
        server: &Arc<Shared>,
    ) {
        // Responses are written whole, so waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(
                "TCP_NODELAY cannot be set for a connection to {}: {error}",
                self.local
            );
        }
        // Counted before the task is first polled, so that draining cannot overlook it.
        let workers = Arc::clone(&server.workers);
        let connected = Arc::new(workers.place(server.most_workers()));
        let worker = connected.worker();
        let closing = Closing(self.closing.subscribe());
        let server = Arc::clone(server);
        let ends = Ends {
            scheme: Scheme::Http,
            source: Endpoint::Ip(peer),
            destination: Endpoint::Ip(self.destination(&stream)),
        };
        let connection =
            connection::serve(stream, self.id, ends, connected, closing, server, place);
        workers.spawn(worker, connection);
    }

    /// Which address a connection came to.
    fn destination(&self, stream: &TcpStream) -> SocketAddr {
        if self.local.ip().is_unspecified() {
            // The client has left already, where the system does not know.
            stream.local_addr().unwrap_or(self.local)
        } else {
            self.local
        }
    }
}

/// Tells that a listener closes. Whoever has one is waited for.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Whether that is so already.
    pub(crate) fn is_closing(&self) -> bool {
        // It changes once. The listener may be gone altogether, which is closing enough.
        self.0.has_changed().unwrap_or(true)
    }

    /// Waits until the listener closes. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        // The listener may be gone altogether, which is closing enough.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// A socket that listens. Its connections belong to no runtime yet.
pub(crate) struct ListeningSocket(AsyncFd<Socket>);

impl ListeningSocket {
    /// Binds the address, and says what it has become.
    fn bind(address: SocketAddr, backlog: u32) -> io::Result<(SocketAddr, Self)> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        // A restarted server takes its address back while old connections are in TIME_WAIT. On Linux
        // this does not let two servers listen on one address.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // As in Unit: `*` and `[::]` are two listeners.
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((
            local,
            Self(AsyncFd::register_with_interest(socket, Interest::READABLE)?),
        ))
    }

    /// Waits for the next connection. Cancel-safe.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.async_io(Interest::READABLE, accept).await
    }

    /// The next connection that is there already.
    fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        accept(self.0.get_ref())
    }
}

fn accept(socket: &Socket) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (stream, peer) = acceptfrom_with(socket, flags)?;
    let peer = peer
        .map(SocketAddr::try_from)
        .transpose()?
        .ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((stream.into(), peer))
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

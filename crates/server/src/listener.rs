use std::io;
use std::sync::Arc;
use std::time::Duration;

use routing::{Endpoint, Scheme};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::routes::router::Ends;
use crate::server::Shared;
use crate::socket::{Accepted, Listening};
use crate::{Address, connection};

/// How long accepting pauses when the process or the machine is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is listened on.
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    /// As it was asked for.
    pub(crate) address: Address,
    /// As it is: the same, unless port 0 was asked for.
    pub(crate) local: Address,
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
    pub address: Address,
    source: sockets::BindError,
}

impl Listener {
    /// Binds the address. Nothing is accepted yet, but the kernel takes connections from here on.
    pub(crate) fn bind(
        id: ListenerId,
        address: Address,
        backlog: u32,
    ) -> Result<(Arc<Self>, Listening), BindError> {
        let bound = Listening::bind(&address, backlog)
            .and_then(|socket| Ok((socket.local(&address)?, socket)));
        let (local, socket) = match bound {
            Ok(bound) => bound,
            Err(source) => return Err(BindError { address, source }),
        };
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
    pub(crate) async fn accept(self: Arc<Self>, socket: Listening, server: Arc<Shared>) {
        self.accept_all(&socket, &server).await;
        drop(socket);
        self.released.send_replace(true);
    }

    async fn accept_all(self: &Arc<Self>, socket: &Listening, server: &Arc<Shared>) {
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
                Ok((stream, source)) => self.spawn(stream, source, place, server),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("accepting on {} pauses: {error}", self.local);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if let Err(error) = socket.hide() {
            tracing::warn!("the file of {} stays: {error}", self.local);
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
        stream: Accepted,
        source: Endpoint,
        place: Option<OwnedSemaphorePermit>,
        server: &Arc<Shared>,
    ) {
        if let Err(error) = stream.set_nodelay() {
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
            source,
            destination: self.destination(&stream),
        };
        let connection =
            connection::serve(stream, self.id, ends, connected, closing, server, place);
        workers.spawn(worker, connection);
    }

    /// Which address a connection came to.
    fn destination(&self, stream: &Accepted) -> Endpoint {
        match self.local {
            Address::Tcp(local) if local.ip().is_unspecified() => {
                // The client has left already, where the system does not know.
                stream.destination().unwrap_or(Endpoint::Ip(local))
            }
            Address::Tcp(local) => Endpoint::Ip(local),
            Address::Unix(_) | Address::Abstract(_) => Endpoint::Unix,
        }
    }
}

/// Tells that a listener closes. Whoever has one is waited for.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Of a listener that closes when true is sent.
    #[cfg(test)]
    pub(crate) fn of_a_listener() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

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

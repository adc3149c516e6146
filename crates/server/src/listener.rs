//! An address that is listened on, and the signal that it closes.

use std::io;
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::watch;

use crate::Address;
use crate::socket::ListeningSocket;

/// An address that is listened on.
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    /// As it was asked for.
    pub(crate) address: Address,
    /// As it is: the same, unless port 0 was asked for.
    pub(crate) local: Address,
    /// Connections that the kernel keeps for it, at most.
    pub(crate) backlog: u32,
    /// True from the moment that nothing more is accepted: connections finish what they do.
    closing: watch::Sender<bool>,
    /// True once the socket is closed, so that the address is free.
    pub(crate) released: watch::Sender<bool>,
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
    /// Binds the address, unless a socket for it has been inherited. Nothing is accepted yet, but the kernel takes
    /// connections from here on.
    pub(crate) fn bind(
        id: ListenerId,
        address: Address,
        backlog: u32,
        inherited: Option<io::Result<Socket>>,
    ) -> Result<(Arc<Self>, ListeningSocket), BindError> {
        let bound = match inherited {
            Some(socket) => socket
                .and_then(|socket| ListeningSocket::inherited(&address, socket))
                .map_err(sockets::BindError::from),
            None => ListeningSocket::bind(&address, backlog),
        };
        let bound = bound.and_then(|socket| Ok((socket.local(&address)?, socket)));
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

    /// The signal that tells connections that the listener closes. A graceful shutdown waits until all signals have
    /// been dropped.
    pub(crate) fn closing(&self) -> ShutdownSignal {
        ShutdownSignal(self.closing.subscribe())
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
}

/// Signals that a listener closes: the beginning of a graceful shutdown. Holders are waited for.
#[derive(Clone)]
pub(crate) struct ShutdownSignal(watch::Receiver<bool>);

impl ShutdownSignal {
    /// Of a listener that closes when true is sent.
    #[cfg(test)]
    pub(crate) fn of_a_listener() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether the listener has closed since this signal was subscribed. A signal that was subscribed after that says
    /// false; [`wait`](Self::wait) returns at once in both cases.
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

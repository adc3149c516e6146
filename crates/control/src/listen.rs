//! The sockets of the control API, and whether an operator or this process itself opened a connection.

use std::io;

use sockets::{Listener, Stream};

/// Who has opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Another process, which may reach the socket.
    Operator,
    /// This process, for a client of one of its listeners. Such connections have their own
    /// [limits](crate::Limits), so that clients of listeners cannot exhaust those of operators.
    Proxied,
}

/// A source of connections: a [`Listener`], or a fake in tests.
pub trait Listen: Send {
    /// The next connection. Cancel-safe: no connection is lost if the future is dropped.
    fn accept(&self) -> impl Future<Output = io::Result<Stream>> + Send;

    /// Who has opened this connection.
    fn origin(&self, stream: &Stream) -> Origin;
}

/// By TCP all connections are an operator's: only a Unix socket tells the peer's process.
impl Listen for Listener {
    async fn accept(&self) -> io::Result<Stream> {
        Self::accept(self).await
    }

    fn origin(&self, stream: &Stream) -> Origin {
        if stream.peer_process() == Some(std::process::id()) {
            Origin::Proxied
        } else {
            Origin::Operator
        }
    }
}

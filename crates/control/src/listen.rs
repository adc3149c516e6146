//! Listeners of the control API, and who opens connections to them.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Who has opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Another process, which may reach the socket.
    Operator,
    /// This process, for a client of one of its listeners. Such connections have
    /// [limits](crate::Limits) of their own, so that strangers never take what operators need.
    Proxied,
}

/// What connections come from.
pub trait Listen: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection. The future may be dropped before it is ready, and
    /// no connection must be lost by that.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Who has opened this connection.
    fn origin(&self, stream: &Self::Stream) -> Origin;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }

    /// The operator, as far as can be known: TCP does not tell which process a peer is.
    fn origin(&self, _: &TcpStream) -> Origin {
        Origin::Operator
    }
}

/// The process of a peer is known by `SO_PEERCRED`.
impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }

    fn origin(&self, stream: &UnixStream) -> Origin {
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let own = i32::try_from(std::process::id()).ok();
        if peer.is_some() && peer == own {
            Origin::Proxied
        } else {
            Origin::Operator
        }
    }
}

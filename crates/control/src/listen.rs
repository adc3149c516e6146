//! What connections come from, and from whom.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Who has opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Another process: someone who may reach the socket.
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
    fn origin(&self, _: &Self::Stream) -> Origin {
        Origin::Operator
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

/// A Unix socket whose clients are told apart by the process that they are (`SO_PEERCRED`). TCP has no
/// such thing.
#[derive(Debug)]
pub struct PeerCheckedListener(pub UnixListener);

impl Listen for PeerCheckedListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Listen::accept(&self.0).await
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

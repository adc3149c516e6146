//! A listening TCP or Unix socket whose connections stay in one runtime.

use std::io;

use tokio::net::{TcpListener, UnixListener};

use crate::stream::Stream;

/// A listening socket. Its file, if it has one, is a [`SocketFile`](crate::SocketFile) of its own.
#[derive(Debug)]
pub enum Listener {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix socket with a path or an abstract name.
    Unix(UnixListener),
}

impl Listener {
    /// The next connection. Cancel-safe: no connection is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`. The listener stays usable.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => Ok(Stream::Tcp(listener.accept().await?.0)),
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

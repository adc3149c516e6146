//! Listening and accepted sockets, TCP or Unix, under one type.

use std::io;
use std::net::{self, SocketAddr};
use std::os::unix;

use routing::Endpoint;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use sockets::{BindError, SocketFile, Stream};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};

use crate::Address;

/// The mode of a socket's file, as in Unit: every user who can reach it may connect.
const FILE_MODE: u32 = 0o666;

/// A socket that listens. Its connections belong to no runtime yet.
pub(crate) struct ListeningSocket {
    socket: AsyncFd<Socket>,
    is_unix: bool,
    /// Of a Unix socket that was bound here, unless its name is abstract.
    file: Option<SocketFile>,
    /// Another process keeps it, with its backlog, when this one closes it.
    is_inherited: bool,
}

/// A client's socket, which no runtime watches yet.
pub(crate) enum AcceptedSocket {
    Tcp(net::TcpStream),
    Unix(unix::net::UnixStream),
}

impl ListeningSocket {
    /// Binds the address. Nothing is accepted yet, but the kernel takes connections from here on.
    pub(crate) fn bind(address: &Address, backlog: u32) -> Result<Self, BindError> {
        let (socket, file) = match address {
            Address::Tcp(address) => (bind_tcp(*address, backlog)?, None),
            Address::Unix(path) => {
                let (listener, file) = sockets::bind_path(path, FILE_MODE, backlog)?;
                (listener.into(), Some(file))
            }
            Address::Abstract(name) => (bind_abstract(name, backlog)?, None),
        };
        Ok(Self {
            file,
            ..Self::watched(address, socket)?
        })
    }

    /// A socket that listens at this address already.
    pub(crate) fn inherited(address: &Address, socket: Socket) -> io::Result<Self> {
        Ok(Self {
            is_inherited: true,
            ..Self::watched(address, socket)?
        })
    }

    fn watched(address: &Address, socket: Socket) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for owners that give away or change their descriptor, \
                      which a `Socket` does not"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            is_unix: !matches!(address, Address::Tcp(_)),
            file: None,
            is_inherited: false,
        })
    }

    /// Whether connections in its backlog survive its close.
    pub(crate) fn keeps_backlog(&self) -> bool {
        self.is_inherited
    }

    /// Where it listens, which it was asked to at `address`.
    pub(crate) fn local(&self, address: &Address) -> io::Result<Address> {
        if self.is_unix {
            return Ok(address.clone());
        }
        let local = self.socket.get_ref().local_addr()?.as_socket();
        Ok(local.map_or_else(|| address.clone(), Address::Tcp))
    }

    /// Accepts a connection, and says from where. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<(AcceptedSocket, Endpoint)> {
        let accept = |socket: &Socket| self.accept_from(socket);
        self.socket.async_io(Interest::READABLE, accept).await
    }

    /// The next connection that is there already.
    pub(crate) fn try_accept(&self) -> io::Result<(AcceptedSocket, Endpoint)> {
        self.accept_from(self.socket.get_ref())
    }

    fn accept_from(&self, socket: &Socket) -> io::Result<(AcceptedSocket, Endpoint)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (stream, peer) = acceptfrom_with(socket, flags)?;
        if self.is_unix {
            return Ok((AcceptedSocket::Unix(stream.into()), Endpoint::Unix));
        }
        let peer = peer.map(SocketAddr::try_from).transpose()?;
        let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((AcceptedSocket::Tcp(stream.into()), Endpoint::Ip(peer)))
    }

    /// Removes the socket's file, so that no further client finds it, before the socket is closed.
    pub(crate) fn hide(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), SocketFile::remove)
    }
}

impl AcceptedSocket {
    /// Has what is written be sent at once. Responses are written whole, so that waiting for more to
    /// send only delays them.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Which of the server's addresses it came to; `None` where the system does not know any more.
    pub(crate) fn destination(&self) -> Option<Endpoint> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(Endpoint::Ip),
            Self::Unix(_) => Some(Endpoint::Unix),
        }
    }

    /// Has the runtime that this is called in watch it.
    pub(crate) fn watched(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

fn bind_tcp(address: SocketAddr, backlog: u32) -> io::Result<Socket> {
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
    listen(&socket, backlog)?;
    Ok(socket)
}

fn bind_abstract(name: &str, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // The kernel knows these by a NUL in front.
    socket.bind(&SockAddr::unix(format!("\0{name}"))?)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

fn listen(socket: &Socket, backlog: u32) -> io::Result<()> {
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

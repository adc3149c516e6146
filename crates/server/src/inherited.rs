//! Listening sockets that another process has opened, and keeps: the service manager, for socket activation. The
//! addresses survive a restart, and so do connections in the backlog.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use parking_lot::Mutex;
use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use socket2::{SockAddr, Socket};

use crate::Address;

/// A socket that listens already.
#[derive(Debug)]
pub struct InheritedSocket {
    address: Address,
    socket: Socket,
}

/// Why a descriptor cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// It is not a socket, or the system does not say.
    #[error("not a socket: {0}")]
    System(#[from] io::Error),
    /// Of datagrams, for example.
    #[error("not a stream socket")]
    NotAStream,
    /// Accepted or connected, for example.
    #[error("the socket does not listen")]
    NotListening,
    /// Not TCP, and not a Unix socket with a name.
    #[error("the socket has neither an IP address nor a path")]
    Address,
}

impl TryFrom<OwnedFd> for InheritedSocket {
    type Error = InheritError;

    fn try_from(socket: OwnedFd) -> Result<Self, InheritError> {
        if socket_type(&socket).map_err(io::Error::from)? != SocketType::STREAM {
            return Err(InheritError::NotAStream);
        }
        if !socket_acceptconn(&socket).map_err(io::Error::from)? {
            return Err(InheritError::NotListening);
        }
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        let address = address(&socket.local_addr()?).ok_or(InheritError::Address)?;
        Ok(Self { address, socket })
    }
}

impl From<InheritedSocket> for OwnedFd {
    fn from(inherited: InheritedSocket) -> Self {
        inherited.socket.into()
    }
}

impl InheritedSocket {
    /// Where it listens. The path of a Unix socket is the one that it was bound with.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is an IPv6 socket that also accepts IPv4, unlike those that a server binds itself.
    #[must_use]
    pub fn accepts_ipv4_too(&self) -> bool {
        let is_any = matches!(&self.address, Address::Tcp(address) if address.is_ipv6() && address.ip().is_unspecified());
        is_any && !self.socket.only_v6().unwrap_or(true)
    }
}

fn address(address: &SockAddr) -> Option<Address> {
    if let Some(tcp) = address.as_socket() {
        return Some(Address::Tcp(tcp));
    }
    if let Some(path) = address.as_pathname() {
        return Some(Address::Unix(path.to_owned()));
    }
    let name = std::str::from_utf8(address.as_abstract_namespace()?).ok()?;
    Some(Address::Abstract(name.to_owned()))
}

/// Those of one server.
#[derive(Debug, Default)]
pub(crate) struct InheritedSockets(Mutex<HashMap<Address, Socket>>);

impl InheritedSockets {
    pub(crate) fn add(&self, inherited: InheritedSocket) {
        let InheritedSocket { address, socket } = inherited;
        self.0.lock().insert(address, socket);
    }

    /// The socket that listens at `address`. It is kept for later listeners, too: the process that has opened it
    /// keeps it, so that the address could not be bound again.
    pub(crate) fn at(&self, address: &Address) -> Option<io::Result<Socket>> {
        self.0.lock().get(address).map(Socket::try_clone)
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.0.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_listening_socket_is_known_by_its_address() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let tcp = InheritedSocket::try_from(OwnedFd::from(tcp)).unwrap();
        assert_eq!(tcp.address(), &Address::Tcp(address));
        assert!(!tcp.accepts_ipv4_too());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let unix = OwnedFd::from(UnixListener::bind(&path).unwrap());
        let unix = InheritedSocket::try_from(unix).unwrap();
        assert_eq!(unix.address(), &Address::Unix(path));
        let name = format!("inherited-{address}");
        let abstracted = SocketAddr::from_abstract_name(&name).unwrap();
        let abstracted = OwnedFd::from(UnixListener::bind_addr(&abstracted).unwrap());
        let abstracted = InheritedSocket::try_from(abstracted).unwrap();
        assert_eq!(abstracted.address(), &Address::Abstract(name));
    }

    #[test]
    fn what_does_not_listen_is_not_inherited() {
        let refused = |descriptor: OwnedFd| {
            let refused = InheritedSocket::try_from(descriptor).unwrap_err();
            refused.to_string()
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(refused(stream.into()), "the socket does not listen");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(refused(udp.into()), "not a stream socket");
        let (unnamed, _other) = UnixStream::pair().unwrap();
        assert_eq!(refused(unnamed.into()), "the socket does not listen");
        let file = tempfile::tempfile().unwrap();
        assert!(refused(file.into()).starts_with("not a socket: "));
    }
}

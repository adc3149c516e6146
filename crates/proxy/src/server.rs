//! Addresses of servers.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// The address of a server. Servers with equal addresses share keep-alive connections.
///
/// Host names are not accepted: as in Unit, nothing is resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server(Address);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// A path, or an abstract name after a NUL, as in the kernel's addresses.
    Unix(PathBuf),
}

impl Server {
    /// A server by TCP over IPv4 or IPv6.
    pub fn tcp(address: SocketAddr) -> Self {
        Self(Address::Tcp(address))
    }

    /// A server at a Unix socket in the file system. A path that the kernel refuses (empty, too long, with a NUL) fails
    /// only when it is connected to.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self(Address::Unix(path.into()))
    }

    /// A server at a Unix socket in Linux' abstract namespace; `name` is without the NUL, or `@`, in front.
    pub fn abstract_name(name: impl AsRef<[u8]>) -> Self {
        let mut path = vec![0];
        path.extend_from_slice(name.as_ref());
        Self(Address::Unix(OsString::from_vec(path).into()))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0
    }
}

/// As in Unit's configuration: `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:@name`.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => match path.as_os_str().as_bytes() {
                [0, name @ ..] => write!(f, "unix:@{}", OsStr::from_bytes(name).display()),
                _ => write!(f, "unix:{}", path.display()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_displayed_as_it_is_configured() {
        let shown = |server: Server| server.to_string();
        assert_eq!(
            shown(Server::tcp("127.0.0.1:80".parse().unwrap())),
            "127.0.0.1:80"
        );
        assert_eq!(shown(Server::tcp("[::1]:80".parse().unwrap())), "[::1]:80");
        assert_eq!(shown(Server::unix("/run/a.sock")), "unix:/run/a.sock");
        assert_eq!(shown(Server::abstract_name("name")), "unix:@name");
    }
}

//! An address to listen on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// By TCP.
    Tcp(SocketAddr),
    /// On a Unix socket in the file system. A relative path is relative to the process's folder.
    Unix(PathBuf),
    /// On a Unix socket with this name in Linux' abstract namespace.
    Abstract(String),
}

impl Address {
    /// Whether the system is to choose, so that this is another one each time.
    pub(crate) fn is_any(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As in Unit's configuration: `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:@name`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            // A name may have any characters.
            Self::Abstract(name) => write!(f, "unix:@{}", name.escape_debug()),
        }
    }
}

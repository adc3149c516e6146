//! Where the control API listens, and who may reach it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::{fmt, str};

use anyhow::{Context as _, Result};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Gid, Uid, fchownat};
use sockets::SocketFile;

use crate::runtime::BACKLOG;

/// `unix:PATH`, `unix:@NAME` (Linux's abstract names, which have no permissions) or
/// `ADDRESS:PORT`, as unitd takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlAddress {
    Path(PathBuf),
    Abstract(String),
    Tcp(SocketAddr),
}

impl str::FromStr for ControlAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("" | "@") => Err("no path after unix:".to_owned()),
            Some(path) => Ok(match path.strip_prefix('@') {
                Some(name) => Self::Abstract(name.to_owned()),
                None => Self::Path(path.into()),
            }),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "neither unix:PATH, unix:@NAME nor ADDRESS:PORT".to_owned()),
        }
    }
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// Who may connect to a control socket that has a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) mode: u32,
    pub(crate) user: Option<Uid>,
    pub(crate) group: Option<Gid>,
}

/// The open control socket. Its file goes with it.
pub(crate) enum ControlSocket {
    Unix(UnixListener, Option<SocketFile>),
    Tcp(TcpListener),
}

impl ControlSocket {
    /// Opens the control socket. A file that a killed server left is replaced; one on which a server
    /// answers is not.
    pub(crate) fn open(address: &ControlAddress, access: Access) -> Result<Self> {
        let socket = match address {
            ControlAddress::Path(path) => open_path(path, access)?,
            ControlAddress::Abstract(name) => {
                let name = UnixAddr::from_abstract_name(name)
                    .with_context(|| format!("the control address {address} is no name"))?;
                let listener = UnixListener::bind_addr(&name)
                    .with_context(|| format!("cannot open the control socket {address}"))?;
                Self::Unix(listener, None)
            }
            ControlAddress::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp)
                    .with_context(|| format!("cannot open the control socket {address}"))?;
                Self::Tcp(listener)
            }
        };
        match &socket {
            Self::Unix(listener, _) => listener.set_nonblocking(true)?,
            Self::Tcp(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }
}

fn open_path(path: &Path, access: Access) -> Result<ControlSocket> {
    let context = || format!("cannot open the control socket {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(context)?;
    }
    let (listener, file) = sockets::bind_path(path, access.mode, BACKLOG).with_context(context)?;
    // Root must not be led to another file by a link.
    let flag = AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(AT_FDCWD, path, access.user, access.group, flag).with_context(context)?;
    Ok(ControlSocket::Unix(listener, Some(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "unix:/run/a.sock",
            "unix:@name",
            "127.0.0.1:8001",
            "[::1]:8001",
        ] {
            assert_eq!(text.parse::<ControlAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "unix:",
            "unix:@",
            "/run/a.sock",
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:99999",
        ] {
            assert!(text.parse::<ControlAddress>().is_err(), "{text}");
        }
    }
}

//! Opens the sockets for operators, that of the control API and that for health checks, with the permissions of their
//! files.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Gid, Uid, fchownat};
use sockets::{Listener, SocketFile};

use crate::addresses::DEFAULT_BACKLOG;
use crate::control_address::ControlAddress;
use crate::inherited_sockets::InheritedSockets;

/// What a socket is for, and who may connect to it if it has a path: the permissions of its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketAccess {
    /// For errors, such as `control socket`.
    pub(crate) name: &'static str,
    pub(crate) mode: u32,
    pub(crate) user: Option<Uid>,
    pub(crate) group: Option<Gid>,
}

/// The open socket. Its file is removed when it is dropped.
pub(crate) enum ControlSocket {
    Unix(UnixListener, Option<SocketFile>),
    Tcp(TcpListener),
}

impl ControlSocket {
    /// Opens the socket. The file of a server that was killed is replaced; that of a running server is not,
    /// which is an error.
    pub(crate) fn open(
        address: &ControlAddress,
        access: SocketAccess,
        inherited: &mut InheritedSockets,
    ) -> Result<Self> {
        if let Some(socket) = inherited.at(address) {
            // Its permissions are those that the service manager has given it.
            return Ok(match address {
                ControlAddress::Tcp(_) => Self::Tcp(socket.into()),
                ControlAddress::Path(_) | ControlAddress::Abstract(_) => {
                    Self::Unix(socket.into(), None)
                }
            });
        }
        let context = || format!("cannot open the {} {address}", access.name);
        let socket = match address {
            ControlAddress::Path(path) => open_path(path, access)?,
            ControlAddress::Abstract(name) => {
                let name = UnixAddr::from_abstract_name(name)
                    .with_context(|| format!("invalid name of an abstract socket: {address}"))?;
                let listener = UnixListener::bind_addr(&name).with_context(context)?;
                Self::Unix(listener, None)
            }
            ControlAddress::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp).with_context(context)?;
                Self::Tcp(listener)
            }
        };
        match &socket {
            Self::Unix(listener, _) => listener.set_nonblocking(true)?,
            Self::Tcp(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }

    /// The socket in the runtime in whose context this is called, and its file.
    pub(crate) fn into_listener(self) -> Result<(Listener, Option<SocketFile>)> {
        Ok(match self {
            Self::Unix(listener, file) => (
                Listener::Unix(tokio::net::UnixListener::from_std(listener)?),
                file,
            ),
            Self::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                (Listener::Tcp(listener), None)
            }
        })
    }
}

fn open_path(path: &Path, access: SocketAccess) -> Result<ControlSocket> {
    let context = || format!("cannot open the {} {}", access.name, path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(context)?;
    }
    let (listener, file) =
        sockets::bind_path(path, access.mode, DEFAULT_BACKLOG).with_context(context)?;
    // The folder may be writable for another user, who could have put a symlink there for root to follow.
    let flag = AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(AT_FDCWD, path, access.user, access.group, flag).with_context(context)?;
    Ok(ControlSocket::Unix(listener, Some(file)))
}

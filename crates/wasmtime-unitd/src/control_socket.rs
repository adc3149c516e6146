//! Opens the control socket, with the permissions of its file.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Gid, Uid, fchownat};
use sockets::SocketFile;

use crate::addresses::DEFAULT_BACKLOG;
use crate::control_address::ControlAddress;

/// Who may connect to a control socket that has a path: the permissions of its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketAccess {
    pub(crate) mode: u32,
    pub(crate) user: Option<Uid>,
    pub(crate) group: Option<Gid>,
}

/// The open control socket. Its file is removed when it is dropped.
pub(crate) enum ControlSocket {
    Unix(UnixListener, Option<SocketFile>),
    Tcp(TcpListener),
}

impl ControlSocket {
    /// Opens the control socket. The file of a server that was killed is replaced; that of a running server is not,
    /// which is an error.
    pub(crate) fn open(address: &ControlAddress, access: SocketAccess) -> Result<Self> {
        let socket = match address {
            ControlAddress::Path(path) => open_path(path, access)?,
            ControlAddress::Abstract(name) => {
                let name = UnixAddr::from_abstract_name(name)
                    .with_context(|| format!("invalid name of an abstract socket: {address}"))?;
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

fn open_path(path: &Path, access: SocketAccess) -> Result<ControlSocket> {
    let context = || format!("cannot open the control socket {}", path.display());
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

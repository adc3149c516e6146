//! Unix sockets that listen at a path, and their files.
//!
//! A file left by a killed server is replaced. A file that is not a socket, a socket that a server listens on, and a
//! file that has replaced our own are left alone. Between the check of a file and its removal another process could
//! still replace it, so the folder must be writable only for users who are trusted with the socket.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a socket that listens, removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Why a path cannot be listened at.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The path is another kind of file, which is left alone.
    #[error("the file exists and is not a socket")]
    NotASocket,
    /// Another process listens there, and is not disturbed.
    #[error("another server listens there")]
    InUse,
    /// The socket of a server that has ended cannot be replaced.
    #[error("cannot remove the socket of a server that has ended: {0}")]
    Stale(io::Error),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Listens at `path`; the file's `mode` says who may connect, from its first moment on. The kernel queues up to
/// `backlog` connections.
///
/// # Errors
///
/// When the path is in use, or a system call fails. A socket left by a killed server may have been removed then;
/// nothing else has changed.
pub fn bind_path(
    path: &Path,
    mode: u32,
    backlog: u32,
) -> Result<(UnixListener, SocketFile), BindError> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // On Linux the file's mode is at most that of the socket before it is bound, so that there is no moment in
    // which more users may connect.
    let bits = Mode::from_bits_truncate(mode);
    fchmod(&socket, bits).map_err(io::Error::from)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &address)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let metadata = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: (metadata.dev(), metadata.ino()),
    };
    // The umask has removed bits. A symlink in place of the file must not lead root to another file.
    fchmodat(AT_FDCWD, path, bits, FchmodatFlags::NoFollowSymlink).map_err(io::Error::from)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok((OwnedFd::from(socket).into(), file))
}

impl SocketFile {
    /// Removes the file, unless it is gone or another file has replaced it.
    ///
    /// # Errors
    ///
    /// Those of `unlink(2)`.
    pub fn remove(&self) -> io::Result<()> {
        let removed = fs::symlink_metadata(&self.path).and_then(|metadata| {
            if (metadata.dev(), metadata.ino()) == self.identity {
                fs::remove_file(&self.path)?;
            }
            Ok(())
        });
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A caller that reports failures has called `remove` before.
        _ = self.remove();
    }
}

/// Removes the socket of a server that has ended.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), BindError> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(BindError::NotASocket);
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener with a full backlog is not waited for.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Ok(()) => Err(BindError::InUse),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(BindError::Stale)
        }
        Err(error) => Err(BindError::System(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    #[test]
    fn a_socket_has_its_mode_and_its_file_is_removed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        for mode in [0o666, 0o600] {
            let (listener, file) = bind_path(&path, mode, 5).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode);
            UnixStream::connect(&path).unwrap();
            listener.accept().unwrap();
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_stale_socket_of_a_killed_server_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, _file) = bind_path(&path, 0o666, 5).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_in_use_a_symlink_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let live = bind_path(&path("live"), 0o666, 0).unwrap();
        // The queue is full.
        let _waiting = UnixStream::connect(path("live")).unwrap();
        fs::write(path("file"), "kept").unwrap();
        std::os::unix::fs::symlink(path("live"), path("link")).unwrap();
        let _datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
        let refused = |name: &str| bind_path(&path(name), 0o666, 5).unwrap_err().to_string();
        assert_eq!(refused("live"), "another server listens there");
        assert_eq!(refused("file"), "the file exists and is not a socket");
        assert_eq!(refused("link"), "the file exists and is not a socket");
        assert!(refused("datagrams").contains("Protocol wrong type"));
        assert!(refused("none/a").contains("No such file"));
        live.0.accept().unwrap();
        assert_eq!(fs::read_to_string(path("file")).unwrap(), "kept");
        assert!(path("datagrams").exists() && path("live").exists());
    }

    #[test]
    fn a_file_that_has_replaced_the_socket_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let (_listener, file) = bind_path(&path, 0o666, 5).unwrap();
        // Renamed, not removed, so that the new file cannot get the same inode.
        fs::rename(&path, folder.path().join("moved")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        file.remove().unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }
}

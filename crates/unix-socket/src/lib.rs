//! Unix sockets that listen at a path, and the files that stand for them.
//!
//! ```text
//! bind(path, mode, backlog) ─▶ a socket that listens, non-blocking
//!                            └▶ SocketFile ─ remove, drop ─▶ the file is gone, if it is still ours
//! ```
//!
//! A file that a killed server has left is replaced. What is no socket, or has somebody who listens, is
//! left alone, and so is a file that has come to the place of our own. Between a look at a file and its
//! removal somebody else could still replace it: the folder is to be one that only those write to who
//! may.

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

/// Why nothing listens at a path.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The file is something else, and stays.
    #[error("the file exists and is no socket")]
    NoSocket,
    /// Somebody listens there, and goes on.
    #[error("another server listens there")]
    InUse,
    /// Nobody listens there, but the file stays.
    #[error("the file of a server that is gone cannot be removed: {0}")]
    Stale(io::Error),
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Listens at `path`, for those who may by the file's `mode`; the kernel keeps up to `backlog`
/// connections. At no moment may anybody else connect.
///
/// # Errors
///
/// When the path cannot be had. Nothing has changed then, but that an abandoned file may be gone.
pub fn bind(path: &Path, mode: u32, backlog: u32) -> Result<(UnixListener, SocketFile), BindError> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // On Linux the file gets no more than the socket has before it is bound.
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
    // The process's mask has taken some of it. Root must not be led to another file by a link.
    fchmodat(AT_FDCWD, path, bits, FchmodatFlags::NoFollowSymlink).map_err(io::Error::from)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok((OwnedFd::from(socket).into(), file))
}

impl SocketFile {
    /// Removes the file, unless another has come to its place. Once it is gone this does nothing.
    ///
    /// # Errors
    ///
    /// When the system does not let it be removed.
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
        // Whoever has something to say about a failure has removed it before.
        _ = self.remove();
    }
}

/// Removes what a server that is gone has left.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), BindError> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(BindError::NoSocket);
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Who listens and is busy is not waited for.
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
    fn a_socket_has_its_mode_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        for mode in [0o666, 0o600] {
            let (listener, file) = bind(&path, mode, 5).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode);
            UnixStream::connect(&path).unwrap();
            listener.accept().unwrap();
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_a_killed_server_has_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, _file) = bind(&path, 0o666, 5).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn who_listens_goes_on_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let live = bind(&path("live"), 0o666, 0).unwrap();
        // The queue is full.
        let _waiting = UnixStream::connect(path("live")).unwrap();
        fs::write(path("file"), "kept").unwrap();
        std::os::unix::fs::symlink(path("live"), path("link")).unwrap();
        let _datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
        let refused = |name: &str| bind(&path(name), 0o666, 5).unwrap_err().to_string();
        assert_eq!(refused("live"), "another server listens there");
        assert_eq!(refused("file"), "the file exists and is no socket");
        assert_eq!(refused("link"), "the file exists and is no socket");
        assert!(refused("datagrams").contains("Protocol wrong type"));
        assert!(refused("none/a").contains("No such file"));
        live.0.accept().unwrap();
        assert_eq!(fs::read_to_string(path("file")).unwrap(), "kept");
        assert!(path("datagrams").exists() && path("live").exists());
    }

    #[test]
    fn a_file_that_has_come_to_the_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let (_listener, file) = bind(&path, 0o666, 5).unwrap();
        // Another of the same inode could come only if this one were gone for good.
        fs::rename(&path, folder.path().join("moved")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        file.remove().unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }
}

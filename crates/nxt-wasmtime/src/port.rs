//! libunit's ports: watched for messages, and sent to.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{self, iovec, msghdr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use unit_sys::nxt_unit_port_t;

/// A port of libunit's, with a file descriptor of our own to watch.
pub(crate) struct Port {
    pub(crate) raw: NonNull<nxt_unit_port_t>,
    pub(crate) fd: OwnedFd,
}

pub(crate) type Watch = Rc<AsyncFd<Port>>;

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Port {
    /// # Errors
    ///
    /// When the system has no file descriptor to give.
    ///
    /// # Safety
    ///
    /// `raw` must be a port that libunit adds, with a file descriptor to receive from.
    pub(crate) unsafe fn new(raw: NonNull<nxt_unit_port_t>) -> io::Result<Self> {
        // SAFETY: by the caller's promise.
        let fd = unsafe { BorrowedFd::borrow_raw((*raw.as_ptr()).in_fd) };
        // Our own one can be watched, and taken from the watch, whenever libunit closes its.
        let fd = fd.try_clone_to_owned()?;
        // Both have the same flags.
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { raw, fd })
    }

    /// Whether there is something to be received, as far as the system knows.
    pub(crate) fn is_readable(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    pub(crate) fn is(&self, raw: *const nxt_unit_port_t) -> bool {
        ptr::eq(self.raw.as_ptr(), raw)
    }
}

pub(crate) fn watch(port: Port) -> io::Result<Watch> {
    // SAFETY: a port owns its file descriptor, which stays the same as long as the port lives.
    let watch = unsafe { AsyncFd::register_with_interest(port, Interest::READABLE) };
    watch.map(Rc::new).map_err(|error| error.into_parts().1)
}

/// Sends with control data, which has file descriptors most often. Waits when the receiver's buffer
/// is full, as libunit does: unitd's processes empty theirs before anything else.
///
/// # Safety
///
/// `message` and `control` must be good for reading as many bytes as they have, and `fd` a socket of
/// libunit's.
pub(crate) unsafe fn send(
    fd: c_int,
    message: *const c_void,
    size: usize,
    control: *const c_void,
    control_size: usize,
) -> isize {
    let mut part = iovec {
        iov_base: message.cast_mut(),
        iov_len: size,
    };
    // SAFETY: zero is a value of each member.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if control_size > 0 {
        header.msg_control = control.cast_mut();
        header.msg_controllen = control_size;
    }
    loop {
        // SAFETY: what the header points to lives until this returns, and is only read.
        let sent = unsafe { libc::sendmsg(fd, &raw const header, libc::MSG_NOSIGNAL) };
        let error = io::Error::last_os_error();
        if sent < 0 && error.kind() == io::ErrorKind::Interrupted {
            continue;
        }
        if sent < 0 {
            // The router's end goes first when unitd stops.
            tracing::warn!("a message of {size} bytes cannot be sent: {error}");
        }
        return sent;
    }
}

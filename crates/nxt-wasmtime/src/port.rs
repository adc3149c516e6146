//! libunit's ports: watching those to receive from, and sending through the others.
//!
//! Receiving is the context's job, since libunit makes callbacks for what it receives.

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
    raw: NonNull<nxt_unit_port_t>,
    fd: OwnedFd,
}

/// A port that wakes the worker's task when there is something to receive.
pub(crate) type WatchedPort = Rc<AsyncFd<Port>>;

impl Port {
    /// # Errors
    ///
    /// When the process has no file descriptor left.
    ///
    /// # Safety
    ///
    /// `raw` must be a port that libunit adds, with a file descriptor to receive from.
    pub(crate) unsafe fn new(raw: NonNull<nxt_unit_port_t>) -> io::Result<Self> {
        // SAFETY: by the caller's promise.
        let fd = unsafe { BorrowedFd::borrow_raw((*raw.as_ptr()).in_fd) };
        // A duplicate: it can be unregistered from the reactor even after libunit has closed its own.
        let fd = fd.try_clone_to_owned()?;
        // Status flags belong to the open file, so this makes libunit's descriptor non-blocking, too.
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { raw, fd })
    }

    /// Registers the port with the reactor. Must be called inside the worker's runtime.
    ///
    /// # Errors
    ///
    /// When the reactor cannot watch it.
    pub(crate) fn watch(self) -> io::Result<WatchedPort> {
        // SAFETY: a port owns its file descriptor, which stays the same as long as the port lives.
        let watched = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        watched.map(Rc::new).map_err(|error| error.into_parts().1)
    }

    pub(crate) fn as_ptr(&self) -> *mut nxt_unit_port_t {
        self.raw.as_ptr()
    }

    /// Whether the kernel has something to receive.
    pub(crate) fn is_readable(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    pub(crate) fn is(&self, raw: *const nxt_unit_port_t) -> bool {
        ptr::eq(self.raw.as_ptr(), raw)
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Sends a message, with control data that mostly carries file descriptors. Blocks while the
/// receiver's buffer is full, as libunit does: unitd's processes empty theirs before anything else.
///
/// # Safety
///
/// `message` and `control` must be valid for reads of `size` and `control_size` bytes, and `fd` must be
/// a socket of libunit's.
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
    // SAFETY: zero is a valid value of each member.
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
            // Expected while unitd stops, whose router closes its end first: hence a warning.
            tracing::warn!("cannot send a message of {size} bytes to a process of Unit: {error}");
        }
        return sent;
    }
}

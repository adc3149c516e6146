//! Wake-ups for other processes that can wait a little: messages that only say that a queue in shared
//! memory is no longer empty.
//!
//! A response takes several entries in the queue of the router's port, and each entry that finds the
//! queue empty is followed by such a message on a socket. That message costs a system call here, and
//! wakes the router for a part of what is coming. So it is deferred until the worker has nothing more
//! to add at once, or has been adding for [`LONGEST`].
//!
//! The sockets also show whether their processes still live.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::getpid;
use unit_sys::{
    nxt_port_msg_t, nxt_port_msg_type_t, nxt_port_msg_type_t__NXT_PORT_MSG_READ_QUEUE,
    nxt_unit_port_id_t,
};

/// The longest time that a wake-up is deferred while the worker has more to do.
const LONGEST: Duration = Duration::from_micros(500);

/// Ports that are tracked at a time. The router has one for each of its threads, and one more.
const MAX_PORTS: usize = 1024;

/// The deferred wake-ups of one worker.
#[derive(Default)]
pub(crate) struct DeferredWakeups {
    ports: RefCell<Vec<PeerPort>>,
    /// When the first wake-up that has not been sent was deferred.
    since: Cell<Option<Instant>>,
}

/// A port of another process that this one sends to.
struct PeerPort {
    id: nxt_unit_port_id_t,
    /// A duplicate: it still belongs to this port after libunit has closed its own.
    fd: OwnedFd,
    pending: Option<nxt_port_msg_t>,
}

/// The process that owns a port has exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerExited;

impl DeferredWakeups {
    /// Tracks the port of another process, so that the exit of that process is noticed even if it is
    /// never sent a wake-up: an entry in a queue that is not empty needs none.
    ///
    /// # Safety
    ///
    /// `socket` must be the socket that sends to the port, and open.
    pub(crate) unsafe fn track(&self, id: nxt_unit_port_id_t, socket: RawFd) {
        let mut ports = self.ports.borrow_mut();
        // SAFETY: by the caller's promise.
        if unsafe { find_or_add(&mut ports, id, socket) }.is_none() {
            tracing::warn!(
                "out of file descriptors; the exit of Unit's process {} may go unnoticed",
                id.pid
            );
        }
    }

    /// Keeps a wake-up for later. When this returns `false`, the caller has to send it now.
    ///
    /// # Safety
    ///
    /// `socket` must be the socket that sends to the port, and open.
    pub(crate) unsafe fn defer(
        &self,
        id: nxt_unit_port_id_t,
        socket: RawFd,
        message: nxt_port_msg_t,
    ) -> bool {
        let mut ports = self.ports.borrow_mut();
        // SAFETY: by the caller's promise.
        let Some(port) = (unsafe { find_or_add(&mut ports, id, socket) }) else {
            return false;
        };
        port.pending = Some(message);
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
        }
        true
    }

    /// Sends all wake-ups if the first of them has been deferred for [`LONGEST`].
    pub(crate) fn flush_overdue(&self) {
        if self
            .since
            .get()
            .is_some_and(|since| since.elapsed() >= LONGEST)
        {
            // Ignored: the next wake-up for a peer that has exited fails again.
            let _ = self.flush();
        }
    }

    /// Sends all wake-ups.
    pub(crate) fn flush(&self) -> Result<(), PeerExited> {
        if self.since.take().is_none() {
            return Ok(());
        }
        let mut ports = self.ports.borrow_mut();
        // Not `try_for_each`: the ports after one whose process has exited get theirs, too.
        let exited = ports.iter_mut().filter_map(|port| port.flush().err());
        if exited.count() > 0 {
            Err(PeerExited)
        } else {
            Ok(())
        }
    }

    /// Whether another process with a tracked port has exited. libunit does not report that while
    /// unitd stops.
    pub(crate) fn has_peer_exited(&self) -> bool {
        let ports = self.ports.borrow();
        // Other contexts of this process have ports as well, which close with them.
        let own = getpid().as_raw();
        ports.iter().filter(|port| port.id.pid != own).any(|port| {
            // POLLHUP and POLLERR are reported without being asked for.
            let mut fds = [PollFd::new(port.fd.as_fd(), PollFlags::empty())];
            poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        })
    }
}

impl Drop for DeferredWakeups {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl PeerPort {
    fn flush(&mut self) -> Result<(), PeerExited> {
        let Some(message) = self.pending.take() else {
            return Ok(());
        };
        // SAFETY: the message lives until this returns, and only the kernel reads it, which may read the
        // uninitialised padding between its members.
        let sent = unsafe {
            libc::send(
                self.fd.as_raw_fd(),
                (&raw const message).cast(),
                size_of_val(&message),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        match Errno::result(sent) {
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN) => {
                Err(PeerExited)
            }
            // A full buffer is no loss: it has other messages that make the peer look into its queue.
            _ => Ok(()),
        }
    }
}

/// The entry of this port, which is added if it is new. `None` when there is no file descriptor left.
///
/// # Safety
///
/// `socket` must be the socket that sends to the port, and open.
unsafe fn find_or_add(
    ports: &mut Vec<PeerPort>,
    id: nxt_unit_port_id_t,
    socket: RawFd,
) -> Option<&mut PeerPort> {
    let is_same = |port: &PeerPort| (port.id.pid, port.id.id) == (id.pid, id.id);
    let index = match ports.iter().position(is_same) {
        Some(index) => index,
        None => {
            // SAFETY: by the caller's promise.
            let fd = unsafe { BorrowedFd::borrow_raw(socket) };
            let fd = fd.try_clone_to_owned().ok()?;
            if ports.len() == MAX_PORTS {
                // The oldest port, most likely of a router that has exited.
                let _ = ports.remove(0).flush();
            }
            ports.push(PeerPort {
                id,
                fd,
                pending: None,
            });
            ports.len() - 1
        }
    };
    ports.get_mut(index)
}

/// The message, if it is a wake-up and nothing else.
///
/// # Safety
///
/// `message` must be valid for reads of `size` bytes.
pub(crate) unsafe fn as_wakeup(message: *const c_void, size: usize) -> Option<nxt_port_msg_t> {
    if size != size_of::<nxt_port_msg_t>() {
        return None;
    }
    // Not read as bytes: the padding between its members is uninitialised.
    // SAFETY: by the caller's promise; every message begins with this.
    let message = unsafe { message.cast::<nxt_port_msg_t>().read_unaligned() };
    let read_queue = nxt_port_msg_type_t__NXT_PORT_MSG_READ_QUEUE;
    (nxt_port_msg_type_t::from(message.type_) == read_queue).then_some(message)
}

//! What other processes are still to be told: that there is something in their queue; and whether they
//! are still there to be told.
//!
//! A response takes several entries in the queue of the router's port, and each first one of them is
//! to be followed by a message on a socket. That message costs a system call here, and wakes the
//! router for a part of what is coming. So it is put off until the worker has nothing more to add at
//! once, or has added for a while.

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

/// The longest time that a notice is put off while the worker goes on.
const LONGEST: Duration = Duration::from_micros(500);

/// Ports that are known at a time: the router has one for each of its threads, and one besides.
const MOST: usize = 1024;

/// The notices of one worker.
#[derive(Default)]
pub(crate) struct Notices {
    ports: RefCell<Vec<Known>>,
    since: Cell<Option<Instant>>,
}

/// A port of a process that may be told something.
struct Known {
    id: nxt_unit_port_id_t,
    /// Our own one, so that it is still this port's when libunit has closed its.
    fd: OwnedFd,
    due: Option<nxt_port_msg_t>,
}

impl Notices {
    /// Keeps the port of another process, so that its end shows also where it has never been sent a
    /// notice: what is put into a queue that is not empty needs none.
    ///
    /// # Safety
    ///
    /// `socket` must be the port's to send to, and open.
    pub(crate) unsafe fn know(&self, id: nxt_unit_port_id_t, socket: RawFd) {
        let mut ports = self.ports.borrow_mut();
        // SAFETY: by the caller's promise.
        if unsafe { find(&mut ports, id, socket) }.is_none() {
            tracing::warn!("no file is left to see the end of process {} by", id.pid);
        }
    }

    /// Keeps a notice for later; if it cannot, it is to be sent now.
    ///
    /// # Safety
    ///
    /// `socket` must be the port's to send to, and open.
    pub(crate) unsafe fn put_off(
        &self,
        id: nxt_unit_port_id_t,
        socket: RawFd,
        notice: nxt_port_msg_t,
    ) -> bool {
        let mut ports = self.ports.borrow_mut();
        // SAFETY: by the caller's promise.
        let Some(known) = (unsafe { find(&mut ports, id, socket) }) else {
            return false;
        };
        known.due = Some(notice);
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
        }
        true
    }

    /// Sends the notices that have been put off for long enough.
    pub(crate) fn tell_late(&self) {
        if self
            .since
            .get()
            .is_some_and(|since| since.elapsed() >= LONGEST)
        {
            self.tell();
        }
    }

    /// Sends all notices.
    pub(crate) fn tell(&self) -> Told {
        if self.since.take().is_none() {
            return Told::All;
        }
        let mut ports = self.ports.borrow_mut();
        // All of them, also those behind one that is gone.
        let gone = ports.iter_mut().filter_map(Known::tell).count();
        if gone > 0 { Told::Nobody } else { Told::All }
    }

    /// Whether another process with a known port has ended. Nobody tells of that while unitd ends.
    pub(crate) fn is_anyone_gone(&self) -> bool {
        let ports = self.ports.borrow();
        // Other contexts of this process have ports, too, which end with them.
        let own = getpid().as_raw();
        ports.iter().filter(|port| port.id.pid != own).any(|port| {
            // The end of a connection is told whatever is asked for.
            let mut fds = [PollFd::new(port.fd.as_fd(), PollFlags::empty())];
            poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        })
    }
}

/// The entry of this port; made if there is none.
///
/// # Safety
///
/// `socket` must be the port's to send to, and open.
unsafe fn find(
    ports: &mut Vec<Known>,
    id: nxt_unit_port_id_t,
    socket: RawFd,
) -> Option<&mut Known> {
    let is_meant = |known: &Known| (known.id.pid, known.id.id) == (id.pid, id.id);
    let index = match ports.iter().position(is_meant) {
        Some(index) => index,
        None => {
            // SAFETY: by the caller's promise.
            let fd = unsafe { BorrowedFd::borrow_raw(socket) };
            let fd = fd.try_clone_to_owned().ok()?;
            if ports.len() == MOST {
                // The oldest one, most likely of a router that is gone.
                ports.remove(0).tell();
            }
            ports.push(Known { id, fd, due: None });
            ports.len() - 1
        }
    };
    ports.get_mut(index)
}

/// What became of notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    All,
    /// Whoever they were for is gone.
    Nobody,
}

/// The owner of a port is gone.
struct Gone;

impl Known {
    fn tell(&mut self) -> Option<Gone> {
        let notice = self.due.take()?;
        // SAFETY: the notice lives until this returns, and is only read, by the kernel, to whom bytes
        // that were never written between its members are bytes.
        let sent = unsafe {
            libc::send(
                self.fd.as_raw_fd(),
                (&raw const notice).cast(),
                size_of_val(&notice),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        match Errno::result(sent) {
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN) => {
                Some(Gone)
            }
            // A buffer that is full has messages that make its owner look into its queue.
            _ => None,
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.tell();
    }
}

/// The message, if it says that there is something in the receiver's queue, and nothing else.
///
/// # Safety
///
/// `message` must be good for reading `size` bytes.
pub(crate) unsafe fn notice(message: *const c_void, size: usize) -> Option<nxt_port_msg_t> {
    if size != size_of::<nxt_port_msg_t>() {
        return None;
    }
    // Not taken as bytes: those between its members were never written.
    // SAFETY: by the caller's promise; every message begins with this.
    let message = unsafe { message.cast::<nxt_port_msg_t>().read_unaligned() };
    let read_queue = nxt_port_msg_type_t__NXT_PORT_MSG_READ_QUEUE;
    (nxt_port_msg_type_t::from(message.type_) == read_queue).then_some(message)
}

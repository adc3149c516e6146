//! libunit's contexts, owned, and the callbacks that it makes.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{self, iovec, msghdr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use unit_sys::{
    NXT_OK, NXT_UNIT_AGAIN, NXT_UNIT_ERROR, NXT_UNIT_OK, nxt_common_app_conf_t, nxt_int_t,
    nxt_port_msg_t, nxt_port_msg_type_t, nxt_port_msg_type_t__NXT_PORT_MSG_READ_QUEUE, nxt_task_t,
    nxt_unit_callbacks_t, nxt_unit_ctx_alloc, nxt_unit_ctx_t, nxt_unit_default_init, nxt_unit_done,
    nxt_unit_init, nxt_unit_port_t, nxt_unit_process_port_msg, nxt_unit_request_info_t,
    nxt_unit_shared_port_id, nxt_unit_t, pid_t,
};

use crate::callback::guard;
use crate::process::Process;
use crate::request::Request;
use crate::worker::Worker;

/// A context, with the worker that its callbacks work for. It stays on the thread that made it.
///
/// When it is dropped, none of its requests may be left: their drop needs it. The worker holds none
/// at that time, as it owns them and `self` is dropped after the worker's loop.
pub(crate) struct UnitContext {
    raw: NonNull<nxt_unit_ctx_t>,
    worker: Rc<Worker>,
}

/// The main context may be used to make others, on their own threads, while it lives.
#[derive(Clone, Copy)]
pub(crate) struct MainContext(NonNull<nxt_unit_ctx_t>);

// SAFETY: libunit makes new contexts of the main one on any thread, and locks what they share.
unsafe impl Send for MainContext {}

/// What came of a look at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message was there, and its callbacks have been made. There may be more.
    Message,
    /// There was none.
    Nothing,
    /// libunit failed, and has logged why.
    Failed,
}

/// A port of libunit's, with a file descriptor of our own to watch.
pub(crate) struct Port {
    raw: NonNull<nxt_unit_port_t>,
    pub(crate) fd: OwnedFd,
}

impl UnitContext {
    /// Makes the process known to unitd, with its main context. Must be called inside the worker's
    /// runtime.
    ///
    /// # Errors
    ///
    /// When libunit fails. Its reason is in the log.
    ///
    /// # Safety
    ///
    /// `task` and `conf` must be what unitd calls `start()` with, while it does, and this must be
    /// the only call in this process.
    pub(crate) unsafe fn main(
        task: *mut nxt_task_t,
        conf: *mut nxt_common_app_conf_t,
        process: Arc<Process>,
    ) -> Result<Self, String> {
        let mut init = MaybeUninit::uninit();
        // SAFETY: by the caller's promise; unitd fills all of `init` when it says that it has.
        let mut init = unsafe {
            if nxt_unit_default_init(task, init.as_mut_ptr(), conf) != NXT_OK as nxt_int_t {
                return Err("nxt_unit_default_init() failed".to_owned());
            }
            init.assume_init()
        };
        let worker = Worker::new(process, 0);
        init.callbacks = nxt_unit_callbacks_t {
            request_handler: Some(request_handler),
            data_handler: Some(data_handler),
            websocket_handler: None,
            close_handler: Some(close_handler),
            add_port: Some(add_port),
            remove_port: Some(remove_port),
            remove_pid: Some(remove_pid),
            quit: Some(quit),
            shm_ack_handler: Some(shm_ack_handler),
            port_send: Some(port_send),
            port_recv: None,
            ready_handler: Some(ready_handler),
        };
        init.data = ptr::from_ref(worker.process()).cast_mut().cast();
        init.ctx_data = Rc::as_ptr(&worker).cast_mut().cast();
        // SAFETY: `init` is complete. The worker outlives the context: `self` holds both.
        let raw = unsafe { nxt_unit_init(&raw mut init) };
        let raw = NonNull::new(raw).ok_or("nxt_unit_init() failed; the log has more")?;
        Ok(Self { raw, worker })
    }

    /// Makes a further context, for the worker number `number` on this thread. Must be called inside
    /// the worker's runtime.
    ///
    /// # Errors
    ///
    /// When libunit fails. Its reason is in the log.
    ///
    /// # Safety
    ///
    /// The main context must live until the new one is dropped.
    pub(crate) unsafe fn further(
        main: MainContext,
        process: Arc<Process>,
        number: usize,
    ) -> Result<Self, String> {
        let worker = Worker::new(process, number);
        let data = Rc::as_ptr(&worker).cast_mut().cast();
        // SAFETY: by the caller's promise; the worker outlives the context: `self` holds both.
        let raw = unsafe { nxt_unit_ctx_alloc(main.0.as_ptr(), data) };
        let raw = NonNull::new(raw).ok_or("nxt_unit_ctx_alloc() failed; the log has more")?;
        Ok(Self { raw, worker })
    }

    pub(crate) fn as_main(&self) -> MainContext {
        MainContext(self.raw)
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Takes a message from a port, and makes the callbacks that belong to it.
    pub(crate) fn receive(&self, port: &Port) -> Received {
        // SAFETY: this is the context's thread. A port is removed from the worker, in `remove_port`,
        // before libunit frees it.
        let code = unsafe { nxt_unit_process_port_msg(self.raw.as_ptr(), port.raw.as_ptr()) };
        const OK: c_int = NXT_UNIT_OK as c_int;
        const AGAIN: c_int = NXT_UNIT_AGAIN as c_int;
        match code {
            OK => Received::Message,
            AGAIN => Received::Nothing,
            _ => Received::Failed,
        }
    }
}

impl Drop for UnitContext {
    fn drop(&mut self) {
        // SAFETY: it is this thread's own context, and not used after this.
        unsafe { nxt_unit_done(self.raw.as_ptr()) };
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
    unsafe fn new(raw: NonNull<nxt_unit_port_t>) -> io::Result<Self> {
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

    fn is(&self, raw: *const nxt_unit_port_t) -> bool {
        ptr::eq(self.raw.as_ptr(), raw)
    }
}

/// The worker of a context.
///
/// # Safety
///
/// `context` must be NULL or a context that [`UnitContext`] made, on its thread.
unsafe fn worker_of(context: *mut nxt_unit_ctx_t) -> Option<Rc<Worker>> {
    // SAFETY: by the caller's promise `data` is the worker, which the context's owner holds a count
    // of as long as libunit may make callbacks.
    unsafe {
        let worker: *const Worker = context.as_ref()?.data.cast_const().cast();
        if worker.is_null() {
            return None;
        }
        Rc::increment_strong_count(worker);
        Some(Rc::from_raw(worker))
    }
}

// Each of these is called by libunit, with pointers of its own that are good during the call, on the
// thread of the context that is meant.

/// Fallback: a request that was not taken is done by its context's end.
unsafe extern "C" fn request_handler(info: *mut nxt_unit_request_info_t) {
    guard("request_handler", (), || {
        // SAFETY: libunit's own pointers.
        unsafe {
            let Some(info) = NonNull::new(info) else {
                return;
            };
            if let Some(worker) = worker_of((*info.as_ptr()).ctx) {
                let request = Request::take(info, Rc::clone(&worker));
                worker.arrived(request);
            }
        }
    });
}

/// Fallback: the request waits for its content until its time is up.
unsafe extern "C" fn data_handler(info: *mut nxt_unit_request_info_t) {
    // SAFETY: libunit's own pointer.
    guard("data_handler", (), || unsafe {
        Request::content_came(info);
    });
}

/// Fallback: the request goes on until its context ends.
unsafe extern "C" fn close_handler(info: *mut nxt_unit_request_info_t) {
    // SAFETY: libunit's own pointer.
    guard("close_handler", (), || unsafe { Request::cancel(info) });
}

/// Fallback: an error, which libunit ignores, and the port is not watched.
unsafe extern "C" fn add_port(context: *mut nxt_unit_ctx_t, port: *mut nxt_unit_port_t) -> c_int {
    guard("add_port", NXT_UNIT_ERROR as c_int, || {
        // SAFETY: libunit's own pointers.
        unsafe {
            let (Some(worker), Some(raw)) = (worker_of(context), NonNull::new(port)) else {
                return NXT_UNIT_ERROR as c_int;
            };
            // Ports to send to, such as the router's, have nothing to watch but their end.
            if (*port).in_fd < 0 {
                if (*port).out_fd >= 0 {
                    worker.notices().know((*port).id, (*port).out_fd);
                }
                return NXT_UNIT_OK as c_int;
            }
            let is_shared = (*port).id.id == nxt_unit_shared_port_id;
            let watched = Port::new(raw).and_then(|port| {
                if is_shared {
                    worker.watch_shared_port(port)
                } else {
                    worker.watch_own_port(port)
                }
            });
            match watched {
                Ok(()) => NXT_UNIT_OK as c_int,
                Err(error) => {
                    tracing::error!("a port of libunit's cannot be watched: {error}");
                    // libunit does not look at what this returns.
                    worker.fail();
                    NXT_UNIT_ERROR as c_int
                }
            }
        }
    })
}

/// Fallback: the port stays watched, and a look at it finds nothing.
unsafe extern "C" fn remove_port(
    _: *mut nxt_unit_t,
    context: *mut nxt_unit_ctx_t,
    port: *mut nxt_unit_port_t,
) {
    guard("remove_port", (), || {
        // SAFETY: libunit's own pointers. There is no context where a whole process is removed, whose
        // ports are for sending.
        if let Some(worker) = unsafe { worker_of(context) } {
            worker.remove_ports(|it| it.is(port));
        }
    });
}

/// Fallback: the process goes on until unitd ends it.
unsafe extern "C" fn quit(context: *mut nxt_unit_ctx_t) {
    guard("quit", (), || {
        // SAFETY: libunit's own pointer.
        if let Some(worker) = unsafe { worker_of(context) } {
            worker.end();
        }
    });
}

/// A process that libunit knows is gone, and the one that it knows is the router.
///
/// Fallback: requests in progress go on until they notice, or their time is up.
unsafe extern "C" fn remove_pid(unit: *mut nxt_unit_t, _: pid_t) {
    guard("remove_pid", (), || {
        // SAFETY: libunit's own pointer; `data` is the process, which the main context's worker holds a
        // count of as long as there is a libunit.
        let process = unsafe {
            unit.as_ref()
                .and_then(|it| it.data.cast::<Process>().as_ref())
        };
        if let Some(process) = process {
            process.end_without_router();
        }
    });
}

/// Fallback: writers look again by themselves, a little later.
unsafe extern "C" fn shm_ack_handler(context: *mut nxt_unit_ctx_t) {
    guard("shm_ack_handler", (), || {
        // SAFETY: libunit's own pointer.
        if let Some(worker) = unsafe { worker_of(context) } {
            worker.memory_came();
        }
    });
}

/// Sends a message to another process. libunit would do so by itself; but most of these messages say
/// only that there is something in a queue, and the worker says that once for all that it puts there
/// in a turn.
///
/// Fallback: an error, as if the message could not be sent.
unsafe extern "C" fn port_send(
    context: *mut nxt_unit_ctx_t,
    port: *mut nxt_unit_port_t,
    message: *const c_void,
    size: usize,
    control: *const c_void,
    control_size: usize,
) -> isize {
    guard("port_send", -1, || {
        // SAFETY: libunit's own pointers; the message and its control data are as long as it says.
        unsafe {
            if let Some(worker) = worker_of(context)
                && control_size == 0
                && let Some(notice) = notice(message, size)
                && worker.notices().put_off((*port).id, (*port).out_fd, notice)
            {
                return isize::try_from(size).unwrap_or(-1);
            }
            send((*port).out_fd, message, size, control, control_size)
        }
    })
}

/// The message, if it says that there is something in the receiver's queue, and nothing else.
///
/// # Safety
///
/// `message` must be good for reading `size` bytes.
unsafe fn notice(message: *const c_void, size: usize) -> Option<nxt_port_msg_t> {
    if size != size_of::<nxt_port_msg_t>() {
        return None;
    }
    // Not taken as bytes: those between its members were never written.
    // SAFETY: by the caller's promise; every message begins with this.
    let message = unsafe { message.cast::<nxt_port_msg_t>().read_unaligned() };
    let read_queue = nxt_port_msg_type_t__NXT_PORT_MSG_READ_QUEUE;
    (nxt_port_msg_type_t::from(message.type_) == read_queue).then_some(message)
}

/// Sends with control data, which has file descriptors most often. Waits when the receiver's buffer
/// is full, as libunit does: unitd's processes empty theirs before anything else.
///
/// # Safety
///
/// `message` and `control` must be good for reading as many bytes as they have, and `fd` a socket of
/// libunit's.
unsafe fn send(
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

/// Fallback: an error, and the process has only its main thread.
unsafe extern "C" fn ready_handler(context: *mut nxt_unit_ctx_t) -> c_int {
    guard("ready_handler", NXT_UNIT_ERROR as c_int, || {
        // SAFETY: libunit's own pointer.
        if let Some(worker) = unsafe { worker_of(context) } {
            worker.process_is_ready();
        }
        NXT_UNIT_OK as c_int
    })
}

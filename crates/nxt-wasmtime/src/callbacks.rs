//! The functions that libunit calls.
//!
//! Each of these is called by libunit, with pointers of its own that are good during the call, on the
//! thread of the context that is meant.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::rc::Rc;

use unit_sys::{
    NXT_UNIT_ERROR, NXT_UNIT_OK, nxt_unit_callbacks_t, nxt_unit_ctx_t, nxt_unit_port_t,
    nxt_unit_request_info_t, nxt_unit_shared_port_id, nxt_unit_t, pid_t,
};

use crate::deferred_wakeups::notice;
use crate::ffi::guard;
use crate::port::{Port, send};
use crate::process::Process;
use crate::request::Request;
use crate::worker::Worker;

/// What libunit is given of them.
pub(crate) const CALLBACKS: nxt_unit_callbacks_t = nxt_unit_callbacks_t {
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

//! The ten functions that libunit calls.
//!
//! libunit calls each of them on the thread of the context that it is about, with pointers of its own
//! that are valid during the call. What each of them returns, or leaves undone, after a panic is
//! documented as its fallback.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::rc::Rc;

use unit_sys::{
    NXT_UNIT_ERROR, NXT_UNIT_OK, nxt_unit_callbacks_t, nxt_unit_ctx_t, nxt_unit_port_t,
    nxt_unit_request_info_t, nxt_unit_shared_port_id, nxt_unit_t, pid_t,
};

use crate::deferred_wakeups::as_wakeup;
use crate::ffi::guard;
use crate::port::{self, Port};
use crate::process::Process;
use crate::request::Request;
use crate::worker::Worker;

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

/// Fallback: a request that was not taken is finished when its context ends.
unsafe extern "C" fn request_handler(info: *mut nxt_unit_request_info_t) {
    guard("request_handler", (), || {
        // SAFETY: libunit's own pointers.
        unsafe {
            let Some(info) = NonNull::new(info) else {
                return;
            };
            if let Some(worker) = worker_of((*info.as_ptr()).ctx) {
                let request = Request::take(info, Rc::clone(worker.memory()));
                worker.push_request(request);
            }
        }
    });
}

/// More of a request's body has arrived.
///
/// Fallback: the request waits for its body until its timeout.
unsafe extern "C" fn data_handler(info: *mut nxt_unit_request_info_t) {
    // SAFETY: libunit's own pointer.
    guard("data_handler", (), || unsafe {
        Request::content_arrived(info);
    });
}

/// Unit has given a request up.
///
/// Fallback: the request continues until its context ends.
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
            // Ports to send to, such as the router's: all that there is to notice is their end.
            if (*port).in_fd < 0 {
                if (*port).out_fd >= 0 {
                    worker.wakeups().track((*port).id, (*port).out_fd);
                }
                return NXT_UNIT_OK as c_int;
            }
            let is_shared = (*port).id.id == nxt_unit_shared_port_id;
            match Port::new(raw).and_then(Port::watch) {
                Ok(port) if is_shared => worker.set_shared_port(port),
                Ok(port) => worker.set_own_port(port),
                Err(error) => {
                    tracing::error!("cannot watch a libunit port: {error}; ending this worker");
                    // libunit ignores what this function returns.
                    worker.fail();
                    return NXT_UNIT_ERROR as c_int;
                }
            }
            NXT_UNIT_OK as c_int
        }
    })
}

/// Fallback: the port stays watched, and reading it finds nothing.
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

/// Fallback: the process continues until unitd kills it.
unsafe extern "C" fn quit(context: *mut nxt_unit_ctx_t) {
    guard("quit", (), || {
        // SAFETY: libunit's own pointer.
        if let Some(worker) = unsafe { worker_of(context) } {
            worker.set_quit();
        }
    });
}

/// A process that libunit knows has exited. The only one that it knows is the router.
///
/// Fallback: requests in progress continue until a send fails, or until their timeouts.
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

/// The router has freed shared memory.
///
/// Fallback: tasks that wait for it check again by themselves, a little later.
unsafe extern "C" fn shm_ack_handler(context: *mut nxt_unit_ctx_t) {
    guard("shm_ack_handler", (), || {
        // SAFETY: libunit's own pointer.
        if let Some(worker) = unsafe { worker_of(context) } {
            worker.memory().wake_all();
        }
    });
}

/// Sends a message to another process. libunit can do that by itself; but most of these messages only
/// wake the receiver for an entry in its queue, and one of them is enough for all entries that the
/// worker adds in a turn.
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
                && let Some(wakeup) = as_wakeup(message, size)
                && worker.wakeups().defer((*port).id, (*port).out_fd, wakeup)
            {
                return isize::try_from(size).unwrap_or(-1);
            }
            port::send((*port).out_fd, message, size, control, control_size)
        }
    })
}

/// unitd has registered the process.
///
/// Fallback: an error, and the process has only its main thread.
unsafe extern "C" fn ready_handler(context: *mut nxt_unit_ctx_t) -> c_int {
    guard("ready_handler", NXT_UNIT_ERROR as c_int, || {
        // SAFETY: libunit's own pointer.
        if let Some(worker) = unsafe { worker_of(context) } {
            worker.set_ready();
        }
        NXT_UNIT_OK as c_int
    })
}

/// The worker of a context.
///
/// # Safety
///
/// `context` must be NULL or a context that `UnitContext` created, on its thread.
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

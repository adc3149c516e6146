//! libunit's contexts, owned.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use unit_sys::{
    NXT_OK, NXT_UNIT_AGAIN, NXT_UNIT_OK, nxt_common_app_conf_t, nxt_int_t, nxt_task_t,
    nxt_unit_ctx_alloc, nxt_unit_ctx_t, nxt_unit_default_init, nxt_unit_done, nxt_unit_init,
    nxt_unit_process_port_msg,
};

use crate::callbacks::CALLBACKS;
use crate::port::Port;
use crate::process::Process;
use crate::worker::Worker;

/// A context, with the worker that its callbacks work for. It stays on the thread that created it.
///
/// Dropping a request uses the context. So the event loop, with the requests that it has started, is dropped first;
/// `UnitContext::drop` then drops those that arrived later.
pub(crate) struct UnitContext {
    raw: NonNull<nxt_unit_ctx_t>,
    worker: Rc<Worker>,
}

/// The main context, from which others can be allocated on their own threads while it lives.
#[derive(Clone, Copy)]
pub(crate) struct MainContext(NonNull<nxt_unit_ctx_t>);

// SAFETY: libunit allocates additional contexts on any thread, and locks what they share.
unsafe impl Send for MainContext {}

/// The result of reading a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// There was a message, and its callbacks have been made. There may be more.
    Message,
    Nothing,
    /// libunit failed, and has logged its reason.
    Failed,
}

impl UnitContext {
    /// Registers the process with unitd, with its main context. Must be called inside the worker's
    /// runtime.
    ///
    /// # Errors
    ///
    /// When libunit fails. It has logged its reason.
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
        // SAFETY: by the caller's promise; unitd fills all of `init` when it reports success.
        let mut init = unsafe {
            if nxt_unit_default_init(task, init.as_mut_ptr(), conf) != NXT_OK as nxt_int_t {
                return Err("nxt_unit_default_init() failed".to_owned());
            }
            init.assume_init()
        };
        let worker = Worker::new(process, 0);
        init.callbacks = CALLBACKS;
        init.data = ptr::from_ref(worker.process()).cast_mut().cast();
        init.ctx_data = Rc::as_ptr(&worker).cast_mut().cast();
        // SAFETY: `init` is complete. The worker outlives the context: `self` holds both.
        let raw = unsafe { nxt_unit_init(&raw mut init) };
        let raw = NonNull::new(raw).ok_or("nxt_unit_init() failed; libunit has logged why")?;
        Ok(Self { raw, worker })
    }

    /// Allocates an additional context, for worker `number` on this thread. Must be called inside the
    /// worker's runtime.
    ///
    /// # Errors
    ///
    /// When libunit fails. It has logged its reason.
    ///
    /// # Safety
    ///
    /// The main context must live until the new one is dropped.
    pub(crate) unsafe fn additional(
        main: MainContext,
        process: Arc<Process>,
        number: usize,
    ) -> Result<Self, String> {
        let worker = Worker::new(process, number);
        let data = Rc::as_ptr(&worker).cast_mut().cast();
        // SAFETY: by the caller's promise; the worker outlives the context: `self` holds both.
        let raw = unsafe { nxt_unit_ctx_alloc(main.0.as_ptr(), data) };
        let raw = NonNull::new(raw).ok_or("nxt_unit_ctx_alloc() failed; libunit has logged why")?;
        Ok(Self { raw, worker })
    }

    pub(crate) fn as_main(&self) -> MainContext {
        MainContext(self.raw)
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Receives a message from a port, and makes the callbacks for it.
    pub(crate) fn receive(&self, port: &Port) -> Received {
        // SAFETY: this is the context's thread. The shared port is removed from the worker, in `remove_port`, before
        // libunit frees it; the context's own port is freed with the context only, by `nxt_unit_done()`.
        let code = unsafe { nxt_unit_process_port_msg(self.raw.as_ptr(), port.as_ptr()) };
        const OK: c_int = NXT_UNIT_OK as c_int;
        const AGAIN: c_int = NXT_UNIT_AGAIN as c_int;
        match code {
            OK => Received::Message,
            AGAIN => Received::Nothing,
            _ => Received::Failed,
        }
    }
}

impl UnitContext {
    /// Ends requests that a message has delivered after the worker's loop ended. Unit answers each with an error.
    pub(crate) fn end_requests(&self) {
        let mut has_ended = false;
        while let Some(request) = self.worker.pop_request() {
            drop(request);
            has_ended = true;
        }
        if has_ended {
            // If the router has exited, nothing waits for their responses.
            let _ = self.worker.wakeups().flush();
        }
    }
}

impl Drop for UnitContext {
    fn drop(&mut self) {
        // The worker outlives the context, so its requests must not be left to it.
        self.end_requests();
        // SAFETY: it is this thread's own context, and not used after this. No request of it is left.
        unsafe { nxt_unit_done(self.raw.as_ptr()) };
    }
}

//! The head of a guest's response on its way from the guest to the task that sends it on.

use std::sync::Arc;
use std::task::{Context, Waker};

use http::Response;
use parking_lot::Mutex;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::failure::error_code;

/// The response that a guest has set, or its error code instead.
pub(crate) type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Where the guest's response is put. Shared by the guest and the request's task, which polls the guest itself
/// or waits for the task that does.
#[derive(Clone, Default)]
pub(crate) struct HeadSlot(Arc<Mutex<HeadState>>);

#[derive(Default)]
struct HeadState {
    head: Option<Head>,
    was_set: bool,
    waiting: Option<Waker>,
}

impl HeadSlot {
    pub(crate) fn set(&self, mut head: Head) {
        if let Err(code) = &mut head {
            // Text of the guest, which may have megabytes.
            error_code::shorten(code);
        }
        let waiting = {
            let mut state = self.0.lock();
            state.head = Some(head);
            state.was_set = true;
            state.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Takes the response, if there is one.
    pub(crate) fn take(&self) -> Option<Head> {
        self.0.lock().head.take()
    }

    /// Whether there has been a response, taken or not.
    pub(crate) fn was_set(&self) -> bool {
        self.0.lock().was_set
    }

    /// Wakes this task when the response is set; needed where another task polls the guest. To be called before
    /// [`take`](Self::take), or a response in between is missed.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        self.0.lock().waiting = Some(cx.waker().clone());
    }
}

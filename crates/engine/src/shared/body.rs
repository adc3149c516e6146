//! Bodies of responses that come from an instance with others.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

use super::lock;
use crate::response::outgoing::{Outgoing, announced_length};
use crate::{CutOff, FailureKind};

/// A response's body between the worker, which knows when its guest ends, and its reader.
#[derive(Default)]
pub(super) struct Slot(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    body: Option<Outgoing>,
    /// The reader waits for the next frame.
    reader: Option<Waker>,
    /// It has had one since this was last asked.
    moved: bool,
}

impl Slot {
    /// The body of a response with these fields.
    pub(super) fn fill(&self, headers: &HeaderMap, body: WasiBody) {
        lock(&self.0).body = Some(Outgoing::new(announced_length(headers), body));
    }

    /// The guest has ended, with all that the host does for it.
    pub(super) fn end(&self, failure: Option<FailureKind>, cx: &mut Context<'_>) {
        let mut contents = lock(&self.0);
        let Some(body) = contents.body.as_mut().filter(|body| body.is_open()) else {
            return;
        };
        if !body.settle(failure, cx) {
            body.abandon();
        }
        // Its own waker was replaced by this one.
        if let Some(reader) = contents.reader.take() {
            reader.wake();
        }
    }

    /// Ends the body if its reader has waited in vain since this was last called.
    pub(super) fn give_up(&self, cx: &mut Context<'_>) {
        let (waits, moved) = {
            let mut contents = lock(&self.0);
            (
                contents.reader.is_some(),
                std::mem::take(&mut contents.moved),
            )
        };
        if waits && !moved {
            self.end(None, cx);
        }
    }
}

pub(super) struct Reader {
    pub(super) slot: Arc<Slot>,
    /// Dropped, the call is over.
    pub(super) _over: oneshot::Sender<()>,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut contents = lock(&self.slot.0);
        let Some(body) = &mut contents.body else {
            return Poll::Ready(None);
        };
        let frame = body.poll(cx);
        contents.reader = frame.is_pending().then(|| cx.waker().clone());
        contents.moved |= frame.is_ready();
        frame.map_err(|cut_off| match cut_off {
            CutOff::TooLong => Error::HttpResponseBodySize(None),
            CutOff::Dropped | CutOff::Failed | CutOff::Unfinished => Error::HttpProtocolError,
        })
    }
}

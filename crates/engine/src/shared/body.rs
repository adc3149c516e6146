//! Bodies of responses from shared instances: between the worker, which knows when the guest has ended, and the
//! reader.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::failure::cut_off::CutOff;
use crate::failure::kind::FailureKind;
use crate::response::outgoing::{Outgoing, announced_length};

/// The body of a response, shared by worker and reader.
#[derive(Default)]
pub(super) struct SharedBody(Mutex<SharedBodyState>);

#[derive(Default)]
struct SharedBodyState {
    body: Option<Outgoing>,
    /// The reader waits for the next frame.
    reader: Option<Waker>,
    /// The reader has got a frame since [`SharedBody::end_if_stalled`] was last called.
    progressed: bool,
}

impl SharedBody {
    /// Sets the body, of a response with these fields.
    pub(super) fn fill(&self, headers: &HeaderMap, body: WasiBody) {
        self.0.lock().body = Some(Outgoing::new(announced_length(headers), body));
    }

    /// Ends the body. The guest has ended, and the host has finished its work for it.
    pub(super) fn end(&self, failure: Option<FailureKind>, cx: &mut Context<'_>) {
        let mut state = self.0.lock();
        let Some(body) = state.body.as_mut().filter(|body| body.is_open()) else {
            return;
        };
        if !body.settle(failure, cx) {
            body.abandon();
        }
        // `settle` has replaced the waker of the reader by that of `cx`.
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Ends the body if its reader waits, and has got nothing since this was last called.
    pub(super) fn end_if_stalled(&self, cx: &mut Context<'_>) {
        let (waits, progressed) = {
            let mut state = self.0.lock();
            (
                state.reader.is_some(),
                std::mem::take(&mut state.progressed),
            )
        };
        if waits && !progressed {
            self.end(None, cx);
        }
    }
}

/// The body for the response. Dropping it tells the worker that the call has ended.
pub(super) struct SharedBodyReader {
    pub(super) body: Arc<SharedBody>,
    /// Its drop is the notification.
    pub(super) _ended: oneshot::Sender<()>,
}

impl Body for SharedBodyReader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.body.0.lock();
        let Some(body) = &mut state.body else {
            return Poll::Ready(None);
        };
        let frame = body.poll(cx);
        state.reader = frame.is_pending().then(|| cx.waker().clone());
        state.progressed |= frame.is_ready();
        frame.map_err(|cut_off| match cut_off {
            CutOff::TooLong => Error::HttpResponseBodySize(None),
            CutOff::Dropped | CutOff::Failed | CutOff::Unfinished => Error::HttpProtocolError,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_stalled_body_is_cut_off_and_one_that_makes_progress_is_not() {
        let (guest, mut written) = mpsc::unbounded_channel();
        let content = stream::poll_fn(move |cx| {
            let written = written.poll_recv(cx);
            written.map(|piece| piece.map(|piece: Bytes| Ok(Frame::data(piece))))
        });
        let body = Arc::new(SharedBody::default());
        body.fill(&HeaderMap::new(), StreamBody::new(content).boxed_unsync());
        let (ended, _has_ended) = oneshot::channel();
        let mut reader = SharedBodyReader {
            body: Arc::clone(&body),
            _ended: ended,
        };
        let mut cx = Context::from_waker(Waker::noop());
        // Not read yet: it is not stalled, but its reader is slow.
        body.end_if_stalled(&mut cx);
        guest.send(Bytes::from_static(b"piece")).unwrap();
        let frame = reader.frame().now_or_never().flatten().unwrap();
        assert_eq!(frame.unwrap().into_data().unwrap(), "piece");
        assert!(reader.frame().now_or_never().is_none());
        // It has made progress since the last call.
        body.end_if_stalled(&mut cx);
        assert!(reader.frame().now_or_never().is_none());
        body.end_if_stalled(&mut cx);
        let end = reader.frame().now_or_never().flatten().unwrap();
        assert!(matches!(end, Err(Error::HttpProtocolError)));
    }
}

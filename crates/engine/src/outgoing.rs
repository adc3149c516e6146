use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::task::unconstrained;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::{CutOff, host_body};

/// What a guest writes as its body: first as it comes, and when the guest has ended, what is left.
pub(crate) struct Outgoing {
    /// `None` when its end is known.
    body: Option<HyperOutgoingBody>,
    rest: VecDeque<Frame<Bytes>>,
    end: Option<CutOff>,
}

impl Outgoing {
    pub(crate) fn new(body: HyperOutgoingBody) -> Self {
        Self {
            body: Some(body),
            rest: VecDeque::new(),
            end: None,
        }
    }

    /// Whether more may come than is there.
    pub(crate) fn is_open(&self) -> bool {
        self.body.is_some()
    }

    /// The next frame that the guest has written, or how the body ends.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(frame) = self.rest.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        // How the body ended is told once.
        match &mut self.body {
            Some(body) => poll_written(body, cx),
            None => Poll::Ready(self.end.take().map(Err)),
        }
    }

    /// Takes over what is left of the body of a guest that has ended. The instance must still be
    /// there: when it goes, an unfinished body looks like a finished one.
    ///
    /// A body that the guest passes on from elsewhere does not end with it.
    pub(crate) fn settle(&mut self, has_failed: bool, cx: &mut Context<'_>) {
        let Some(body) = &mut self.body else {
            return;
        };
        self.end = loop {
            let (frame, is_passed_on) = host_body::watch(|| poll_written(body, cx));
            if is_passed_on {
                if let Poll::Ready(Some(Ok(frame))) = frame {
                    self.rest.push_back(frame);
                    return;
                }
                if frame.is_pending() {
                    return;
                }
            }
            match frame {
                Poll::Ready(Some(Ok(frame))) => self.rest.push_back(frame),
                Poll::Ready(Some(Err(cut_off))) => break Some(cut_off),
                Poll::Ready(None) => break None,
                Poll::Pending if has_failed => break Some(CutOff::Failed),
                Poll::Pending => break Some(CutOff::Unfinished),
            }
        };
        self.body = None;
    }
}

/// A body that waits when its guest has ended is an unfinished one. So it must wait for nothing
/// else: tokio's channels also do when their task has used up its turn.
fn poll_written(
    body: &mut HyperOutgoingBody,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
    let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx));
    Pin::new(&mut unconstrained(frame))
        .poll(cx)
        .map_err(|_| CutOff::Dropped)
}

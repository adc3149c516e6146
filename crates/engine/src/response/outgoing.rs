//! What a guest has written of its body, and how its end is recognised: finished, unfinished, or forwarded from
//! elsewhere.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http_body::Frame;
use tokio::task::unconstrained;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::failure::cut_off::CutOff;
use crate::failure::kind::FailureKind;
use crate::sandbox::host_body;

/// The output side of a guest's body: read from the guest while the guest works, and buffered after it has ended.
pub(crate) struct Outgoing {
    /// `None` when its end is known.
    body: Option<HyperOutgoingBody>,
    /// The announced length, in bytes.
    length: Option<u64>,
    buffered: VecDeque<Frame<Bytes>>,
    end: Option<CutOff>,
    /// It is forwarded from elsewhere, and does not end with its guest.
    is_forwarded: bool,
}

impl Outgoing {
    /// The body of a response that announces this length.
    pub(crate) fn new(length: Option<u64>, body: HyperOutgoingBody) -> Self {
        Self {
            body: Some(body),
            length,
            buffered: VecDeque::new(),
            end: None,
            is_forwarded: false,
        }
    }

    /// Whether its end is still unknown.
    pub(crate) fn is_open(&self) -> bool {
        self.body.is_some()
    }

    /// The next frame that the guest has written, or how the body ends.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(frame) = self.buffered.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        // A cut-off is returned once.
        match &mut self.body {
            Some(body) => poll_written(body, self.length, cx),
            None => Poll::Ready(self.end.take().map(Err)),
        }
    }

    /// Buffers what the guest has written, until at least `limit` bytes are buffered. Returns whether there was
    /// anything, or the end.
    pub(crate) fn read_ahead(&mut self, limit: usize, cx: &mut Context<'_>) -> bool {
        let mut has_read = false;
        while self.buffered_bytes() < limit
            && let Some(body) = &mut self.body
            && let Poll::Ready(frame) = poll_written(body, self.length, cx)
        {
            has_read = true;
            match frame {
                Some(Ok(frame)) => self.buffered.push_back(frame),
                Some(Err(cut_off)) => self.end_with(Some(cut_off)),
                None => self.end_with(None),
            }
        }
        has_read
    }

    fn buffered_bytes(&self) -> usize {
        let bytes = |frame: &Frame<Bytes>| frame.data_ref().map_or(0, Bytes::len);
        self.buffered.iter().map(bytes).sum()
    }

    fn end_with(&mut self, end: Option<CutOff>) {
        (self.body, self.end) = (None, end);
    }

    /// Buffers what is left of the body of a guest that has ended, and determines how it ends. The instance
    /// must still exist: afterwards, the end of an unfinished body looks like that of a finished one.
    ///
    /// `false` if the end cannot be determined: the body is pending, and not because it is forwarded from
    /// elsewhere. It waits for something that the guest has left to the host, or for ever.
    #[must_use]
    pub(crate) fn settle(&mut self, failure: Option<FailureKind>, cx: &mut Context<'_>) -> bool {
        if self.is_forwarded {
            return true;
        }
        if failure == Some(FailureKind::Panic) && self.is_open() {
            // The panic may have destroyed the instance, so that the end cannot be determined.
            self.end_with(Some(CutOff::Failed));
        }
        let Some(body) = &mut self.body else {
            return true;
        };
        let end = loop {
            // `body` is opaque. That it is forwarded shows only when polling it polls a body of the host.
            let (frame, is_forwarded) =
                host_body::polls_host_body(|| poll_written(body, self.length, cx));
            if is_forwarded {
                self.is_forwarded = true;
                if let Poll::Ready(Some(Ok(frame))) = frame {
                    self.buffered.push_back(frame);
                    return true;
                }
                if frame.is_pending() {
                    return true;
                }
            }
            match frame {
                Poll::Ready(Some(Ok(frame))) => self.buffered.push_back(frame),
                Poll::Ready(Some(Err(cut_off))) => break Some(cut_off),
                Poll::Ready(None) => break None,
                Poll::Pending if failure.is_some() => break Some(CutOff::Failed),
                Poll::Pending => return false,
            }
        };
        self.end_with(end);
        true
    }

    /// Gives up waiting: the body is unfinished.
    pub(crate) fn abandon(&mut self) {
        if self.is_open() {
            self.end_with(Some(CutOff::Unfinished));
        }
    }
}

/// The length that a response announces. `wasmtime-wasi-http` takes only one value, and only digits.
pub(crate) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Polls the body outside of tokio's cooperative budget. A body that is pending when its guest has ended counts as
/// unfinished, and tokio's channels are also pending when their task has used up its budget.
fn poll_written(
    body: &mut HyperOutgoingBody,
    length: Option<u64>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
    let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx));
    Pin::new(&mut unconstrained(frame))
        .poll(cx)
        .map_err(|error| match error {
            // `wasmtime-wasi-http` has one error for both too much and too little. Where the guest wrote too
            // much, it has the size that the body would have had, or `None` where that overflows.
            Error::HttpResponseBodySize(size)
                if size.is_none_or(|size| length.is_some_and(|length| size > length)) =>
            {
                CutOff::TooLong
            }
            _ => CutOff::Dropped,
        })
}

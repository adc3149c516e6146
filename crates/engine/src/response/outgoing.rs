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

use crate::sandbox::host_body;
use crate::{CutOff, FailureKind};

/// What a guest writes as its body: first as it comes, and when the guest has ended, what is left.
pub(crate) struct Outgoing {
    /// `None` when its end is known.
    body: Option<HyperOutgoingBody>,
    /// Its announced length.
    length: Option<u64>,
    rest: VecDeque<Frame<Bytes>>,
    end: Option<CutOff>,
    /// It comes from elsewhere, and does not end with its guest.
    is_passed_on: bool,
}

impl Outgoing {
    /// The body of a response that announces this length.
    pub(crate) fn new(length: Option<u64>, body: HyperOutgoingBody) -> Self {
        Self {
            body: Some(body),
            length,
            rest: VecDeque::new(),
            end: None,
            is_passed_on: false,
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
            Some(body) => poll_written(body, self.length, cx),
            None => Poll::Ready(self.end.take().map(Err)),
        }
    }

    /// Takes what is written, before anyone asks for it, as long as less than `limit` bytes are held.
    /// Whether any of it, or its end, has come.
    pub(crate) fn read_ahead(&mut self, limit: usize, cx: &mut Context<'_>) -> bool {
        let mut has_come = false;
        while self.held() < limit
            && let Some(body) = &mut self.body
            && let Poll::Ready(frame) = poll_written(body, self.length, cx)
        {
            has_come = true;
            match frame {
                Some(Ok(frame)) => self.rest.push_back(frame),
                Some(Err(cut_off)) => self.end_with(Some(cut_off)),
                None => self.end_with(None),
            }
        }
        has_come
    }

    fn held(&self) -> usize {
        let bytes = |frame: &Frame<Bytes>| frame.data_ref().map_or(0, Bytes::len);
        self.rest.iter().map(bytes).sum()
    }

    fn end_with(&mut self, end: Option<CutOff>) {
        (self.body, self.end) = (None, end);
    }

    /// Takes over what is left of the body of a guest that has ended. The instance must still be
    /// there: when it goes, an unfinished body looks like a finished one.
    ///
    /// A body that the guest passes on from elsewhere does not end with it. `false` if it is none of
    /// these, and waits: for something that the guest has left to the host, or for nothing.
    #[must_use]
    pub(crate) fn settle(&mut self, failure: Option<FailureKind>, cx: &mut Context<'_>) -> bool {
        if self.is_passed_on {
            return true;
        }
        if failure == Some(FailureKind::Panic) && self.is_open() {
            // It has taken the instance along, so that nothing can be told any more.
            self.end_with(Some(CutOff::Failed));
        }
        let Some(body) = &mut self.body else {
            return true;
        };
        let end = loop {
            let (frame, is_passed_on) = host_body::watch(|| poll_written(body, self.length, cx));
            if is_passed_on {
                self.is_passed_on = true;
                if let Poll::Ready(Some(Ok(frame))) = frame {
                    self.rest.push_back(frame);
                    return true;
                }
                if frame.is_pending() {
                    return true;
                }
            }
            match frame {
                Poll::Ready(Some(Ok(frame))) => self.rest.push_back(frame),
                Poll::Ready(Some(Err(cut_off))) => break Some(cut_off),
                Poll::Ready(None) => break None,
                Poll::Pending if failure.is_some() => break Some(CutOff::Failed),
                Poll::Pending => return false,
            }
        };
        self.end_with(end);
        true
    }

    /// Waits no longer: the body is unfinished.
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

/// A body that waits when its guest has ended is an unfinished one. So it must wait for nothing
/// else: tokio's channels also do when their task has used up its turn.
fn poll_written(
    body: &mut HyperOutgoingBody,
    length: Option<u64>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
    let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx));
    Pin::new(&mut unconstrained(frame))
        .poll(cx)
        .map_err(|error| match error {
            // A guest of WASI 0.3 is stopped before it has written too much, with the size that the body
            // would have had; none is one that cannot be counted. The same error is one of too little.
            Error::HttpResponseBodySize(size)
                if size.is_none_or(|size| length.is_some_and(|length| size > length)) =>
            {
                CutOff::TooLong
            }
            _ => CutOff::Dropped,
        })
}

//! Bodies that come to a guest from outside (its request's, and those of responses to its own requests), and
//! how to tell that another body forwards one of them.
//!
//! A guest of WASI 0.3 can forward such a body, as its response or in a request of its own, without reading it,
//! and end. That body then continues without its guest, while every other body whose guest has ended can make
//! no further progress. The two have to be distinguished, but `wasmtime-wasi-http` gives us both as opaque boxed
//! bodies. What differs is that polling a forwarded body polls a [`HostBody`] in the same call. So
//! `HostBody::poll_frame` sets a thread-local flag, and [`polls_host_body`] reads it around a poll. Nothing
//! else can set it in between: a poll is one synchronous call on one thread.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

thread_local! {
    /// Whether a [`HostBody`] has been polled on this thread since [`polls_host_body`] last cleared this.
    static HOST_BODY_POLLED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `poll`, and returns with its result whether it has polled a [`HostBody`]: the polled body then forwards
/// one that comes from outside, and does not end with its guest.
pub(crate) fn polls_host_body<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    HOST_BODY_POLLED.set(false);
    (poll(), HOST_BODY_POLLED.get())
}

/// A body that comes to a guest from outside.
pub(crate) struct HostBody<B>(B);

impl<B> HostBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(body)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for HostBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // For `polls_host_body`: see the head of this file.
        HOST_BODY_POLLED.set(true);
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

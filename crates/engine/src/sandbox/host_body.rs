use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

thread_local! {
    static POLLED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `poll`, and says whether that has polled the body of a request or of an outgoing request's
/// response.
///
/// A guest of WASI 0.3 may pass such a body on without reading it. Its response then goes on when
/// the guest has long ended, and waits for the body's sender; all others wait for their guest.
pub(crate) fn watch<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    POLLED.set(false);
    (poll(), POLLED.get())
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
        POLLED.set(true);
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

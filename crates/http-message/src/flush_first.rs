//! The workaround for hyper's flush: in HTTP/1, hyper drops what it has not flushed when a body fails, the response's
//! head included.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

/// A body that is given to hyper, whose error is returned one poll after it happened.
///
/// hyper flushes once when a body is pending. So the client gets what came before the error, up to what the socket
/// accepts at that moment, and then sees that the response is cut off. In HTTP/2 another task writes, and a reset drops
/// what it has not: a pending body gives that task a turn, and no more.
#[derive(Debug)]
pub struct FlushFirst<B: Body> {
    body: B,
    /// Held back until the next poll.
    error: Option<B::Error>,
}

impl<B: Body> FlushFirst<B> {
    /// A body with the errors of `body`.
    pub fn new(body: B) -> Self {
        Self { body, error: None }
    }

    /// The body.
    pub fn get_ref(&self) -> &B {
        &self.body
    }

    /// The body. Replacing it does not clear an error that is held back.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.body
    }
}

impl<B> Body for FlushFirst<B>
where
    B: Body + Unpin,
    B::Error: Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Err(error)) => {
                self.error = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.error.is_some() {
            return SizeHint::default();
        }
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Frames in a row; it is at its end after the last, a failed one included.
    struct Frames(VecDeque<Result<&'static [u8], &'static str>>);

    impl Body for Frames {
        type Data = &'static [u8];
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<&'static [u8]>, &'static str>>> {
            Poll::Ready(self.0.pop_front().map(|frame| frame.map(Frame::data)))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(0)
        }
    }

    #[test]
    fn an_error_waits_for_one_flush_and_is_not_taken_for_the_end() {
        let mut body = FlushFirst::new(Frames([Ok(&b"a"[..]), Err("broken")].into()));
        let mut cx = Context::from_waker(Waker::noop());
        let mut poll = || {
            let body = Pin::new(&mut body);
            let frame = body.poll_frame(&mut cx);
            frame.map_ok(|frame| frame.into_data().unwrap_or_default())
        };
        assert_eq!(poll(), Poll::Ready(Some(Ok(&b"a"[..]))));
        assert_eq!(poll(), Poll::Pending);
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), None);
        let mut poll = || {
            let body = Pin::new(&mut body);
            body.poll_frame(&mut cx).map_ok(|_| ())
        };
        assert_eq!(poll(), Poll::Ready(Some(Err("broken"))));
        assert_eq!(poll(), Poll::Ready(None));
        assert!(body.is_end_stream());
    }
}

//! Holds back the end of an HTTP/2 response whose request is still being sent: curl 7.88 waits for ever
//! when it has the end of the response before it has sent all of the request.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::held::StreamState;

/// For a request of unknown length, which may be one that ends only after its response, and for one that
/// is still read.
const MAX_DELAY: Duration = Duration::from_millis(250);

/// Ready when the request's body has been read to its end or drained, or when [`MAX_DELAY`] has passed.
pub(crate) struct EndDelay {
    stream: StreamState,
    /// `None` where the client has announced how much it sends: draining has limits of its own.
    limit: Option<Pin<Box<Sleep>>>,
}

impl EndDelay {
    /// `None` where nothing is left of the body.
    pub(crate) fn new(stream: &StreamState) -> Option<Self> {
        let queue = stream.drain_queue();
        if !queue.is_incomplete() {
            return None;
        }
        let is_announced = queue.announces_length().unwrap_or(false);
        Some(Self {
            stream: stream.clone(),
            limit: (!is_announced).then(|| Box::pin(sleep(MAX_DELAY))),
        })
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let queue = self.stream.drain_queue();
        // Its result is not used: it is also ready while the handler still reads the body.
        _ = queue.poll_drain(|| true, cx);
        if !queue.is_incomplete() {
            return Poll::Ready(());
        }
        match &mut self.limit {
            Some(limit) => limit.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

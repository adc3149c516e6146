//! Request bodies that are taken back from their guest when the request has ended. An instance that serves
//! further requests may still hold the body of an earlier one, whose client's connection would have to wait
//! until the instance ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::sandbox::LINGER;
use crate::sandbox::request::RequestBodyError;

/// Makes the request's body revocable: it is taken back after the returned revoker has been dropped, wherever
/// the guest has put it. A reader may continue for up to `limit` after that: a guest that has responded early,
/// or another server that the guest forwards the body to.
pub(crate) fn revocable<B>(
    request: Request<B>,
    limit: Duration,
) -> (Request<RevocableBody<B>>, BodyRevoker)
where
    B: Body + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let shared = Arc::new(Mutex::new(RevocableState {
        body: Some(body),
        reader: None,
        reads: 0,
    }));
    let revoker = BodyRevoker {
        body: Arc::clone(&shared) as Arc<dyn Revoke>,
        limit,
    };
    (Request::from_parts(parts, RevocableBody(shared)), revoker)
}

/// Takes a body back when it is dropped.
pub(crate) struct BodyRevoker {
    body: Arc<dyn Revoke>,
    limit: Duration,
}

impl Drop for BodyRevoker {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        match runtime {
            Ok(runtime) if !is_done(&self.body) => {
                let (body, limit) = (Arc::clone(&self.body), self.limit);
                runtime.spawn(async move {
                    wait_unread(&body, limit).await;
                    body.revoke();
                });
            }
            _ => self.body.revoke(),
        }
    }
}

/// Waits until the body has no reader any more, at most for `limit`.
async fn wait_unread(body: &Arc<dyn Revoke>, limit: Duration) {
    let deadline = Instant::now().checked_add(limit);
    let mut before = None;
    while !is_done(body) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let reads = body.reads();
        if reads.is_some() && reads == before {
            return;
        }
        before = reads;
        tokio::time::sleep(LINGER.min(limit)).await;
    }
}

/// Whether the guest has dropped the body, or has read all of it.
fn is_done(body: &Arc<dyn Revoke>) -> bool {
    Arc::strong_count(body) == 1 || body.is_read()
}

/// A [`RevocableState`] whatever the type of its body.
trait Revoke: Send + Sync {
    fn revoke(&self);

    /// Whether all of the body has been read.
    fn is_read(&self) -> bool;

    /// How often it has been read; `None` while a reader waits for more.
    fn reads(&self) -> Option<u64>;
}

struct RevocableState<B> {
    /// `None` when it has been taken back.
    body: Option<B>,
    /// Waits for more.
    reader: Option<Waker>,
    reads: u64,
}

impl<B: Body + Send> Revoke for Mutex<RevocableState<B>> {
    fn revoke(&self) {
        let (body, reader) = {
            let mut state = self.lock();
            (state.body.take(), state.reader.take())
        };
        // Dropped after the lock is released, since that may wake other tasks.
        drop(body);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn is_read(&self) -> bool {
        self.lock().body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn reads(&self) -> Option<u64> {
        let state = self.lock();
        state.reader.is_none().then_some(state.reads)
    }
}

/// A body that can be taken back. It then ends with the error of a client that has hung up.
pub(crate) struct RevocableBody<B>(Arc<Mutex<RevocableState<B>>>);

impl<B> Body for RevocableBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<RequestBodyError>,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let mut state = self.0.lock();
        let Some(body) = &mut state.body else {
            return Poll::Ready(Some(Err(RequestBodyError::Disconnected)));
        };
        let frame = Pin::new(body).poll_frame(cx);
        state.reads = state.reads.wrapping_add(1);
        state.reader = frame.is_pending().then(|| cx.waker().clone());
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock();
        state.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.lock();
        state
            .body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    /// A body whose client takes its time.
    struct Pieces(UnboundedReceiver<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = RequestBodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
            let piece = self.0.poll_recv(cx);
            piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn pieces(limit: Duration) -> (UnboundedSender<Bytes>, RevocableBody<Pieces>, BodyRevoker) {
        let (client, pieces) = unbounded_channel();
        let (request, revoker) = revocable(Request::new(Pieces(pieces)), limit);
        (client, request.into_body(), revoker)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_may_continue_for_a_while_and_is_woken_when_the_body_is_revoked() {
        {
            let limit = LINGER / 4;
            let (client, mut body, revoker) = pieces(limit);
            let begun = Instant::now();
            drop(revoker);
            let reading = tokio::spawn(async move {
                let first = body.frame().await.unwrap().unwrap();
                (first, body.frame().await.unwrap())
            });
            tokio::time::sleep(limit / 2).await;
            client.send(Bytes::from_static(b"late")).unwrap();
            let (first, second) = reading.await.unwrap();
            assert_eq!(first.into_data().unwrap(), "late");
            assert_eq!(second.unwrap_err(), RequestBodyError::Disconnected);
            assert!(begun.elapsed() >= limit);
            assert!(client.is_closed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_reader_is_revoked_soon() {
        {
            let (client, mut body, revoker) = pieces(60 * LINGER);
            let begun = Instant::now();
            drop(revoker);
            client.closed().await;
            assert!(begun.elapsed() < 10 * LINGER);
            let read = body.frame().await.unwrap();
            assert_eq!(read.unwrap_err(), RequestBodyError::Disconnected);
        }
    }
}

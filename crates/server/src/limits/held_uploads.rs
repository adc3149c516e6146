//! Request bodies of unknown length that are held back until they are there as a whole, for servers that
//! take no chunks.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{EXPECT, TRAILER, TRANSFER_ENCODING};
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_message::{Framing, HeldBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use unit_log::LogInterval;

/// Bytes of memory for request bodies that are held back at a time, of all clients together; so no single one may be
/// longer, either.
pub const MAX_HELD: u64 = 64 * 1024 * 1024;

/// What a permit stands for, in bytes.
const UNIT: u64 = 1024;
/// How long the first byte and the last may be apart, besides a second for each so many bytes.
const BASE_TIME: Duration = Duration::from_secs(60);
const BYTES_PER_SECOND: u64 = 16 * 1024;
/// Between two log lines about the budget.
const UPLOADS_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The budget of all bodies that are held back.
#[derive(Debug)]
pub(crate) struct HeldUploads {
    free: Arc<Semaphore>,
    capacity: u64,
    exhausted: LogInterval,
}

/// A body that is there as a whole.
#[derive(Debug, Default)]
pub(crate) struct HeldUpload {
    body: HeldBody,
    reserved: Option<OwnedSemaphorePermit>,
}

impl HeldUploads {
    pub(crate) fn new(capacity: u64) -> Self {
        let permits = usize::try_from(capacity / UNIT).unwrap_or(usize::MAX);
        Self {
            free: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            capacity,
            exhausted: LogInterval::new(UPLOADS_WARNING_INTERVAL),
        }
    }

    /// Whether a request's body is one to hold back: of a length that neither fields nor body tell. One
    /// whose fields contradict each other is left to those who refuse it.
    pub(crate) fn concern(request: &Request<impl Body>) -> bool {
        let body = request.body();
        let is_unknown = !body.is_end_stream() && body.size_hint().exact().is_none();
        is_unknown
            && matches!(
                Framing::of(request.headers()),
                Ok(Framing::None | Framing::Chunked)
            )
    }

    /// Waits for all of a request's body, and makes of the request one with a length. Trailers are dropped,
    /// as in Unit: a message with a length has no trailers.
    ///
    /// # Errors
    ///
    /// The status to answer with. For a fault of the body itself, the exchange's `BodyFault` has the exact status,
    /// which takes precedence.
    pub(crate) async fn hold<B>(
        &self,
        request: Request<B>,
    ) -> Result<Request<HeldUpload>, StatusCode>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (mut head, body) = request.into_parts();
        let held = self.collect(body).await?;
        for field in [TRANSFER_ENCODING, TRAILER, EXPECT] {
            head.headers.remove(field);
        }
        Ok(Request::from_parts(head, held))
    }

    async fn collect<B>(&self, mut body: B) -> Result<HeldUpload, StatusCode>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let begun = Instant::now();
        let mut held = HeldUpload::default();
        loop {
            let deadline = begun + allowance(held.body.length());
            let frame = match timeout_at(deadline, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)))
                .await
            {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(StatusCode::BAD_REQUEST),
                Ok(None) => return Ok(held),
                Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
            };
            if let Ok(data) = frame.into_data() {
                self.reserve(&mut held, data.len() as u64)?;
                held.body.push(&data);
            }
        }
    }

    /// Has room for so many bytes more.
    fn reserve(&self, held: &mut HeldUpload, more: u64) -> Result<(), StatusCode> {
        let length = held.body.length() + more;
        if length > self.capacity {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let reserved = held
            .reserved
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = HeldBody::memory(length).div_ceil(UNIT);
        let missing = needed.saturating_sub(reserved as u64);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let Ok(permits) = Arc::clone(&self.free).try_acquire_many_owned(missing) else {
            if self.exhausted.is_due() {
                tracing::warn!(
                    "the memory for chunked uploads ({} bytes) is used up; answering 503",
                    self.capacity
                );
            }
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        };
        match &mut held.reserved {
            Some(reserved) => reserved.merge(permits),
            none => *none = Some(permits),
        }
        Ok(())
    }
}

/// How long a body may take of which so many bytes have come.
fn allowance(length: u64) -> Duration {
    BASE_TIME + Duration::from_secs(length / BYTES_PER_SECOND)
}

impl Body for HeldUpload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that begins with these pieces, and then ends or does not.
    struct Pieces {
        pieces: Vec<usize>,
        ends: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.pieces.pop() {
                Some(size) => Poll::Ready(Some(Ok(Frame::data(vec![0; size].into())))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn whole(pieces: &[usize]) -> Pieces {
        Pieces {
            pieces: pieces.to_vec(),
            ends: true,
        }
    }

    fn endless(pieces: &[usize]) -> Pieces {
        Pieces {
            pieces: pieces.to_vec(),
            ends: false,
        }
    }

    #[tokio::test]
    async fn held_uploads_share_a_budget_and_give_it_back() {
        let uploads = HeldUploads::new(10 * UNIT);
        let first = uploads.collect(whole(&[3000, 1, 1000])).await.unwrap();
        assert_eq!(first.size_hint().exact(), Some(4001));
        // As much as is allocated for it.
        assert_eq!(uploads.free.available_permits(), 6);
        let second = uploads.collect(whole(&[5 * 1024 + 1])).await;
        assert_eq!(second.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(uploads.free.available_permits(), 6);
        drop(first);
        assert_eq!(uploads.free.available_permits(), 10);
        uploads.collect(whole(&[5 * 1024 + 1])).await.unwrap();
    }

    #[tokio::test]
    async fn a_held_upload_above_the_whole_budget_is_too_large() {
        let uploads = HeldUploads::new(16 * UNIT);
        let sent = uploads.collect(whole(&[1024, 16 * 1024])).await;
        assert_eq!(sent.unwrap_err(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(uploads.free.available_permits(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_upload_that_does_not_end_in_time_is_given_up() {
        let uploads = HeldUploads::new(MAX_HELD);
        let begun = Instant::now();
        let sent = uploads.collect(endless(&[32 * 1024])).await;
        assert_eq!(sent.unwrap_err(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(begun.elapsed().as_secs(), 62);
        let permits = uploads.free.available_permits() as u64;
        assert_eq!(permits, MAX_HELD / UNIT);
        assert_eq!(allowance(0).as_secs(), 60);
        assert_eq!(allowance(160 * 1024).as_secs(), 70);
    }
}

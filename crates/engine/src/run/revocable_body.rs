//! Bodies of requests that guests may keep for longer than the request takes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::sandbox::LINGER;
use crate::sandbox::request::RequestBodyError;

/// Lends the request's body: it is taken back when the returned value has been dropped, wherever the
/// guest has put it. Whoever reads it may go on for as long as `limit`: a guest that has answered early,
/// or another server that the guest has passed it on to.
///
/// An instance that serves further requests may still have the body of this one, with which its client's
/// connection would wait until the instance ends.
pub(crate) fn lend<B>(request: Request<B>, limit: Duration) -> (Request<Lent<B>>, Lender)
where
    B: Body + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let loan = Arc::new(Mutex::new(Loan {
        body: Some(body),
        reader: None,
        reads: 0,
    }));
    let lender = Lender {
        loan: Arc::clone(&loan) as Arc<dyn Lend>,
        limit,
    };
    (Request::from_parts(parts, Lent(loan)), lender)
}

/// Whoever has lent a body.
pub(crate) struct Lender {
    loan: Arc<dyn Lend>,
    limit: Duration,
}

impl Drop for Lender {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        match runtime {
            Ok(runtime) if !is_over(&self.loan) => {
                let (loan, limit) = (Arc::clone(&self.loan), self.limit);
                runtime.spawn(async move {
                    unread(&loan, limit).await;
                    loan.take_back();
                });
            }
            _ => self.loan.take_back(),
        }
    }
}

/// Waits until nobody reads the body any more, `limit` at most.
async fn unread(loan: &Arc<dyn Lend>, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut before = None;
    while !is_over(loan) && Instant::now() < deadline {
        let reads = loan.reads();
        if reads.is_some() && reads == before {
            return;
        }
        before = reads;
        tokio::time::sleep(LINGER.min(limit)).await;
    }
}

/// Whether nobody else has the body, or nothing is left of it.
fn is_over(loan: &Arc<dyn Lend>) -> bool {
    Arc::strong_count(loan) == 1 || loan.is_read()
}

trait Lend: Send + Sync {
    fn take_back(&self);

    /// Whether nothing is left of the body.
    fn is_read(&self) -> bool;

    /// How often it has been read; `None` while someone waits for more.
    fn reads(&self) -> Option<u64>;
}

struct Loan<B> {
    /// `None` when it has been taken back.
    body: Option<B>,
    /// Who waits for more.
    reader: Option<Waker>,
    reads: u64,
}

impl<B: Body + Send> Lend for Mutex<Loan<B>> {
    fn take_back(&self) {
        let mut loan = lock(self);
        let (body, reader) = (loan.body.take(), loan.reader.take());
        // Not under the lock: dropping it may wake others up.
        drop(loan);
        drop(body);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn is_read(&self) -> bool {
        lock(self).body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn reads(&self) -> Option<u64> {
        let loan = lock(self);
        loan.reader.is_none().then_some(loan.reads)
    }
}

/// A body that may be taken back, which ends it as if its client had left.
pub(crate) struct Lent<B>(Arc<Mutex<Loan<B>>>);

impl<B> Body for Lent<B>
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
        let mut loan = lock(&self.0);
        let Some(body) = &mut loan.body else {
            return Poll::Ready(Some(Err(RequestBodyError::Disconnected)));
        };
        let frame = Pin::new(body).poll_frame(cx);
        loan.reads = loan.reads.wrapping_add(1);
        loan.reader = frame.is_pending().then(|| cx.waker().clone());
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let loan = lock(&self.0);
        loan.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let loan = lock(&self.0);
        loan.body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

fn lock<T>(loan: &Mutex<T>) -> MutexGuard<'_, T> {
    loan.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn lent(limit: Duration) -> (UnboundedSender<Bytes>, Lent<Pieces>, Lender) {
        let (client, pieces) = unbounded_channel();
        let (request, lender) = lend(Request::new(Pieces(pieces)), limit);
        (client, request.into_body(), lender)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn a_reader_that_waits_goes_on_and_is_woken_when_its_time_is_up() {
        run(async {
            let limit = LINGER / 4;
            let (client, mut body, lender) = lent(limit);
            let begun = Instant::now();
            drop(lender);
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
        });
    }

    #[test]
    fn what_nobody_reads_is_taken_back_soon() {
        run(async {
            let (client, mut body, lender) = lent(60 * LINGER);
            let begun = Instant::now();
            drop(lender);
            client.closed().await;
            assert!(begun.elapsed() < 10 * LINGER);
            let read = body.frame().await.unwrap();
            assert_eq!(read.unwrap_err(), RequestBodyError::Disconnected);
        });
    }
}

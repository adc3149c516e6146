//! Gathers small pieces of a request's body, so that its reader is woken once for all that has been
//! received, and not for each chunk of HTTP/1 or frame of HTTP/2 that a client has made of it.
//!
//! hyper decodes one chunk each time that an HTTP/1 connection is polled, and a guest that is woken for each costs
//! ten times as much as the chunk. So the reader of a small chunk has the task that drives the connection poll
//! hyper again and again, until there is no further chunk. What comes alone is passed on at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_message::SmallPieces;
use parking_lot::{Mutex, MutexGuard};

use super::client_body::ClientBody;
use crate::link::{ConnectionState, Gather, MAX_GATHERED};

type Received = Option<Result<Frame<Bytes>, hyper::Error>>;

/// A request's body whose small pieces are gathered.
pub(crate) enum GatheredBody {
    /// There is nothing to gather.
    Empty(ClientBody),
    Pieces(Arc<Gathering>),
}

pub(crate) struct Gathering {
    state: Mutex<GatheringState>,
    link: ConnectionState,
}

struct GatheringState {
    incoming: ClientBody,
    pieces: SmallPieces,
    /// Comes after what is gathered.
    next: Option<Received>,
    /// Wakes the reader when the task that drives the connection has gathered what there is.
    reader: Option<Waker>,
}

impl GatheredBody {
    pub(crate) fn new(incoming: ClientBody, link: &ConnectionState) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty(incoming);
        }
        Self::Pieces(Arc::new(Gathering {
            state: Mutex::new(GatheringState {
                incoming,
                pieces: SmallPieces::default(),
                next: None,
                reader: None,
            }),
            link: link.clone(),
        }))
    }
}

impl Body for GatheredBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received> {
        match &mut *self {
            Self::Empty(incoming) => Pin::new(incoming).poll_frame(cx),
            Self::Pieces(gathering) => gathering.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty(incoming) => incoming.is_end_stream(),
            Self::Pieces(gathering) => gathering.lock().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty(incoming) => incoming.size_hint(),
            Self::Pieces(gathering) => gathering.lock().size_hint(),
        }
    }
}

impl Gathering {
    fn lock(&self) -> MutexGuard<'_, GatheringState> {
        self.state.lock()
    }

    fn poll_frame(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Received> {
        let mut state = self.lock();
        if let Some(reader) = &mut state.reader {
            reader.clone_from(cx.waker());
            return Poll::Pending;
        }
        if let Some(gathered) = state.take() {
            return Poll::Ready(gathered);
        }
        for _ in 0..MAX_GATHERED {
            if !state.gather(cx) {
                break;
            }
            if self.link.gather_orders().order(self) {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            // HTTP/2 has its frames in a buffer already.
        }
        state.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Gather for Gathering {
    /// Takes the piece that hyper has decoded, if there is one. Whether there may be another.
    fn gather(&self, cx: &mut Context<'_>) -> bool {
        self.lock().gather(cx)
    }

    /// Has the reader take what has been gathered.
    fn finish(&self) {
        let reader = self.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl GatheringState {
    fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        let received = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => return false,
            Poll::Ready(received) => received,
        };
        match received {
            Some(Ok(frame)) if SmallPieces::is_small(&frame) => {
                if let Ok(data) = frame.into_data() {
                    self.pieces.push(data);
                }
                // The last frame of HTTP/2 may have no bytes.
                let is_over = self.incoming.is_end_stream() && !self.pieces.is_empty();
                !self.pieces.is_enough() && !is_over
            }
            other => {
                self.next = Some(other);
                false
            }
        }
    }

    /// What the reader is given next; `None` if there is nothing yet.
    fn take(&mut self) -> Option<Received> {
        match self.pieces.take() {
            Some(gathered) => Some(Some(Ok(Frame::data(gathered)))),
            None => self.next.take(),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.next.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let next = match &self.next {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
            Some(Some(Err(_)) | None) | None => 0,
        };
        let held = (self.pieces.len() + next) as u64;
        let to_come = self.incoming.size_hint();
        let mut sum = SizeHint::new();
        sum.set_lower(to_come.lower().saturating_add(held));
        if let Some(upper) = to_come.upper() {
            sum.set_upper(upper.saturating_add(held));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::test_bodies::{self, Wakes};

    const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

    #[tokio::test]
    async fn a_reader_on_another_thread_wakes_the_driver_that_was_polled_before_its_order() {
        let link = ConnectionState::default();
        let (incoming, mut client) = test_bodies::http1(CHUNKED, &link).await;
        let mut body = GatheredBody::new(incoming, &link);
        let accepting = link.gather_orders().accept();
        let (driver, reader) = (Wakes::default(), Wakes::default());
        link.gather_orders().set_driver(&driver.waker());
        let waker = reader.waker();
        let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        client.write_all(b"1\r\nx\r\n").await.unwrap();
        while reader.count() == 0 {
            tokio::task::yield_now().await;
        }
        // The reader takes the piece, and has the driver look for more.
        let before = driver.count();
        assert!(poll().is_pending());
        assert_eq!(driver.count(), before + 1);
        let polled = accepting.gather(&mut Context::from_waker(&driver.waker()), |_| {
            Poll::<()>::Pending
        });
        assert_eq!(polled, Some(Poll::Pending));
        let Poll::Ready(Some(Ok(frame))) = poll() else {
            panic!("nothing was gathered");
        };
        assert_eq!(frame.into_data().unwrap(), "x");
    }
}

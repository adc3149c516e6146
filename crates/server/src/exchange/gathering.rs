//! Gathers small pieces of a request's body, so that its reader is woken once for all that has been
//! received, and not for each chunk of HTTP/1 or frame of HTTP/2 that a client has made of it.
//!
//! hyper decodes one chunk each time that an HTTP/1 connection is polled, and a guest that is woken for each costs
//! ten times as much as the chunk. So the reader of a small chunk has the task that drives the connection poll
//! hyper again and again, until there is no further chunk. What comes alone is passed on at once.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_message::SmallPieces;

use crate::connection::client_io::Link;
use crate::exchange::client_body::ClientBody;

/// Pieces that are gathered in a row, at most: the time of others who are served by the same thread.
const MAX_GATHERED: usize = 2048;

type Received = Option<Result<Frame<Bytes>, hyper::Error>>;

/// A request's body whose small pieces are gathered.
pub(crate) enum GatheredBody {
    /// There is nothing to gather.
    Empty(ClientBody),
    Pieces(Arc<Gathering>),
}

pub(crate) struct Gathering {
    state: Mutex<State>,
    link: Link,
}

struct State {
    incoming: ClientBody,
    pieces: SmallPieces,
    /// Comes after what is gathered.
    next: Option<Received>,
    /// Wakes the reader when the task that drives the connection has gathered what there is.
    reader: Option<Waker>,
}

impl GatheredBody {
    pub(crate) fn new(incoming: ClientBody, link: &Link) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty(incoming);
        }
        Self::Pieces(Arc::new(Gathering {
            state: Mutex::new(State {
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
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
            if self.link.gatherings().order(self) {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            // HTTP/2 has its frames in a buffer already.
        }
        state.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes the piece that hyper has decoded, if there is one. Whether there may be another.
    pub(crate) fn gather(&self, cx: &mut Context<'_>) -> bool {
        self.lock().gather(cx)
    }

    /// Has the reader take what has been gathered.
    pub(crate) fn finish(&self) {
        let reader = self.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl State {
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

/// What the task that drives an HTTP/1 connection is to gather.
#[derive(Default)]
pub(crate) struct Gatherings {
    ordered: Mutex<Ordered>,
    /// Of the task that drives the connection.
    driver: Mutex<Option<Waker>>,
    is_ordered: AtomicBool,
    is_gathering: AtomicBool,
}

#[derive(Default)]
enum Ordered {
    /// The connection is not driven here, so that readers must not wait for it.
    #[default]
    Refused,
    Nothing,
    Body(Arc<Gathering>),
}

impl Gatherings {
    fn lock(&self) -> MutexGuard<'_, Ordered> {
        lock(&self.ordered)
    }

    /// Has the connection be driven for further pieces. False if the connection is not one of HTTP/1, or
    /// has ended.
    fn order(&self, body: &Arc<Gathering>) -> bool {
        {
            let mut ordered = self.lock();
            if let Ordered::Refused = *ordered {
                return false;
            }
            *ordered = Ordered::Body(Arc::clone(body));
            self.is_ordered.store(true, Ordering::Release);
        }
        // hyper has woken that task when a piece was taken. On another thread it may have been polled since,
        // without having seen the order.
        if let Some(driver) = &*lock(&self.driver) {
            driver.wake_by_ref();
        }
        true
    }

    /// Takes note of the task that drives the connection.
    pub(crate) fn set_driver(&self, driver: &Waker) {
        *lock(&self.driver) = Some(driver.clone());
    }

    /// Accepts orders for as long as the returned value lives.
    pub(crate) fn accept(&self) -> Accepting<'_> {
        *self.lock() = Ordered::Nothing;
        Accepting(self)
    }

    /// Whether pieces are being gathered, so that guests need not be polled.
    pub(crate) fn is_gathering(&self) -> bool {
        self.is_gathering.load(Ordering::Relaxed)
    }
}

/// Held by the task that drives the connection.
pub(crate) struct Accepting<'a>(&'a Gatherings);

impl Accepting<'_> {
    /// Has `poll` decode pieces until there is none left, if that was ordered. Whether it was. Then all has to be
    /// polled once more, as guests have not been. Whatever `poll` returns that is ready ends it.
    pub(crate) fn gather<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<Poll<T>> {
        if !self.0.is_ordered.load(Ordering::Acquire) {
            return None;
        }
        self.0.is_ordered.store(false, Ordering::Relaxed);
        let ordered = std::mem::replace(&mut *self.0.lock(), Ordered::Nothing);
        let Ordered::Body(body) = ordered else {
            return None;
        };
        self.0.is_gathering.store(true, Ordering::Relaxed);
        let mut polled = Poll::Pending;
        for _ in 0..MAX_GATHERED {
            polled = poll(cx);
            if polled.is_ready() || !body.gather(cx) {
                break;
            }
        }
        self.0.is_gathering.store(false, Ordering::Relaxed);
        body.finish();
        Some(polled)
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        *lock(&self.0.driver) = None;
        let ordered = std::mem::replace(&mut *self.0.lock(), Ordered::Refused);
        if let Ordered::Body(body) = ordered {
            body.finish();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::test_bodies::{self, Wakes};

    const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

    #[tokio::test]
    async fn a_reader_on_another_thread_wakes_the_driver_that_was_polled_before_its_order() {
        let link = Link::default();
        let (incoming, mut client) = test_bodies::http1(CHUNKED, &link).await;
        let mut body = GatheredBody::new(incoming, &link);
        let accepting = link.gatherings().accept();
        let (driver, reader) = (Wakes::default(), Wakes::default());
        link.gatherings().set_driver(&driver.waker());
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

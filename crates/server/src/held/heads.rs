//! Counts the heads of HTTP/2 responses. h2 queues them as they are, and no window holds them back; so they are
//! in memory until the socket has taken all that is before them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::task::{Context, Poll};

use http::HeaderMap;

use super::count::ConnectionHeld;

/// What a field takes beside its name and its value (RFC 9113, section 6.5.2).
const FIELD: usize = 32;

/// Bytes of a response's head.
pub(crate) fn head_size(fields: &HeaderMap) -> u64 {
    let size = |name: &http::HeaderName, value: &http::HeaderValue| {
        name.as_str().len() + value.len() + FIELD
    };
    fields
        .iter()
        .map(|(name, value)| size(name, value))
        .sum::<usize>() as u64
}

impl ConnectionHeld {
    /// h2 has a head that has been counted. It is counted until h2 has flushed all that it had when it was polled
    /// after this.
    pub(super) fn queue_head(&self, bytes: u64) {
        self.heads.fetch_add(bytes, SeqCst);
        // Either this sees that the connection is closed, or that sees these bytes.
        if self.is_closed.load(SeqCst) {
            self.release(self.heads.swap(0, SeqCst));
        }
    }

    /// Begins a turn of the connection. Returns the bytes of heads that are written if all is by its end.
    fn begin_turn(&self) -> u64 {
        self.is_flushed.store(false, Relaxed);
        self.heads.load(SeqCst)
    }

    fn end_turn(&self, heads: u64) {
        if heads > 0 && self.is_flushed.load(Relaxed) {
            self.heads.fetch_sub(heads, SeqCst);
            self.release(heads);
        }
    }

    /// What h2 has left is dropped with the connection.
    fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.release(self.heads.swap(0, SeqCst));
    }
}

/// A connection whose responses' heads are counted.
pub(crate) struct WithHeads<C> {
    pub(crate) connection: C,
    held: Arc<ConnectionHeld>,
}

impl<C> WithHeads<C> {
    pub(crate) fn new(connection: C, held: Arc<ConnectionHeld>) -> Self {
        Self { connection, held }
    }
}

impl<C: Future + Unpin> Future for WithHeads<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let heads = self.held.begin_turn();
        let polled = Pin::new(&mut self.connection).poll(cx);
        self.held.end_turn(heads);
        polled
    }
}

impl<C> Drop for WithHeads<C> {
    fn drop(&mut self) {
        self.held.close();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::counters::WorkerId;
    use crate::held::{HeldTotal, StreamState};
    use crate::link::ConnectionState;

    fn connect(total: &Arc<HeldTotal>) -> Arc<ConnectionHeld> {
        let send = Duration::from_secs(30);
        ConnectionHeld::new(
            Arc::clone(total),
            WorkerId(0),
            ConnectionState::default(),
            send,
        )
    }

    /// A connection each poll of which does this.
    struct Polled<F>(F);

    impl<F: FnMut() + Unpin> Future for Polled<F> {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            (self.0)();
            Poll::Pending
        }
    }

    fn poll(connection: &mut WithHeads<impl Future<Output = ()> + Unpin>) {
        let polled = Pin::new(connection).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }

    fn respond(held: &Arc<ConnectionHeld>, head: u64) -> StreamState {
        let stream = StreamState::new(Arc::clone(held));
        stream.hold_head(head);
        stream.end_turn();
        stream
    }

    #[test]
    fn heads_of_http_2_responses_are_held_until_all_before_them_is_written() {
        let total = Arc::new(HeldTotal::new(1, 1 << 30));
        let held = connect(&total);
        let mut writes = vec![true, false, true].into_iter();
        let (watched, meanwhile) = (Arc::clone(&held), Arc::clone(&held));
        let polled = Polled(move || match writes.next() {
            Some(true) => {
                watched.note_write(&Poll::Ready(Ok(100)));
                watched.note_flush(true);
                // On another thread, after h2 has looked for the last time.
                respond(&meanwhile, 3000);
            }
            _ => {
                watched.note_flush(true);
                watched.note_write(&Poll::<io::Result<usize>>::Pending);
            }
        });
        let mut connection = WithHeads::new(polled, Arc::clone(&held));
        for _ in 0..10 {
            respond(&held, 5000);
        }
        assert_eq!(total.response_bytes(), 50_000);
        poll(&mut connection);
        assert_eq!(total.response_bytes(), 3000);
        respond(&held, 5000);
        poll(&mut connection);
        assert_eq!(total.response_bytes(), 8000);
        poll(&mut connection);
        assert_eq!(total.response_bytes(), 3000);
        drop(connection);
        assert_eq!(total.response_bytes(), 0);
        respond(&held, 5000);
        assert_eq!(total.response_bytes(), 0);
    }

    #[test]
    fn a_head_that_never_reaches_h2_is_released_with_its_stream() {
        let total = Arc::new(HeldTotal::new(1, 1 << 30));
        let held = connect(&total);
        let stream = StreamState::new(Arc::clone(&held));
        stream.hold_head(5000);
        assert_eq!(total.response_bytes(), 5000);
        drop(stream);
        assert_eq!(total.response_bytes(), 0);
    }

    #[test]
    fn heads_that_a_client_does_not_take_fill_its_connection() {
        let total = Arc::new(HeldTotal::new(1, 1 << 30));
        let held = connect(&total);
        for _ in 0..64 {
            assert!(!held.is_full());
            respond(&held, 64 << 10);
        }
        assert!(held.is_full());
    }
}

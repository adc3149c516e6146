//! Gives an HTTP/2 connection with many requests one turn at a time on each thread that serves, like every
//! other connection.
//!
//! hyper begins all streams that a client has opened each time that the connection is polled. A client that
//! opens 128 at once would so have others wait for 128 guests.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::{Mutex, MutexGuard};
use tokio::task::yield_now;

/// What serves a stream.
type StreamTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The streams of one connection that have not begun.
#[derive(Default)]
pub(crate) struct StreamTurns {
    state: Mutex<TurnQueue>,
    /// Streams that may begin in one turn.
    limit: usize,
}

#[derive(Default)]
struct TurnQueue {
    /// In this turn.
    begun: usize,
    waiting: VecDeque<StreamTask>,
    is_closed: bool,
}

impl StreamTurns {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            limit: limit.max(1),
        })
    }

    /// Gives a stream back that may begin now; else it waits for a turn.
    pub(crate) fn begin<F>(&self, stream: F) -> Option<F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut state = self.lock();
        if state.is_closed || (state.begun < self.limit && state.waiting.is_empty()) {
            state.begun += 1;
            return Some(stream);
        }
        state.waiting.push_back(Box::pin(stream));
        None
    }

    /// Begins the next turn, with those that have waited for it.
    fn next(&self, mut spawn: impl FnMut(StreamTask)) {
        let begin = {
            let mut state = self.lock();
            let count = self.limit.min(state.waiting.len());
            state.begun = count;
            if count == 0 {
                return;
            }
            state.waiting.drain(..count).collect::<Vec<_>>()
        };
        begin.into_iter().for_each(&mut spawn);
    }

    /// Whether a stream waits for its turn. No more is read of the connection meanwhile: each stream that is
    /// reset makes room for another, so that there would be no limit to those that wait.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Drops those that wait, which may refer to this.
    fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, TurnQueue> {
        self.state.lock()
    }
}

/// A connection, each poll of which is a turn.
pub(crate) struct InTurns<C, S> {
    pub(crate) connection: C,
    turns: Arc<StreamTurns>,
    /// Spawns the task of a stream.
    spawn: S,
}

impl<C, S> InTurns<C, S> {
    pub(crate) fn new(connection: C, turns: Arc<StreamTurns>, spawn: S) -> Self {
        Self {
            connection,
            turns,
            spawn,
        }
    }
}

impl<C, S> Future for InTurns<C, S>
where
    C: Future + Unpin,
    S: FnMut(StreamTask) + Unpin,
{
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        this.turns.next(&mut this.spawn);
        let polled = Pin::new(&mut this.connection).poll(cx);
        if polled.is_pending() && this.turns.is_awaited() {
            // All others that are ready are polled before this, and sockets are looked at for more of them.
            _ = pin!(yield_now()).poll(cx);
        }
        polled
    }
}

impl<C, S> Drop for InTurns<C, S> {
    fn drop(&mut self) {
        self.turns.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn streams_opened_at_once_begin_one_turn_after_the_other() {
        let turns = StreamTurns::new(2);
        let begun = Arc::new(AtomicUsize::new(0));
        let open = |count: usize| {
            let direct = (0..count).filter(|_| turns.begin(async {}).is_some());
            begun.fetch_add(direct.count(), Ordering::Relaxed);
        };
        let connection = std::future::poll_fn(|_| {
            if begun.load(Ordering::Relaxed) == 0 {
                open(5);
            }
            Poll::<()>::Pending
        });
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut connection =
            InTurns::new(Box::pin(connection), Arc::clone(&turns), |_: StreamTask| {
                begun.fetch_add(1, Ordering::Relaxed);
            });
        let mut poll = || {
            assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
            let woken = woken.0.load(Ordering::Relaxed);
            (begun.load(Ordering::Relaxed), woken)
        };
        assert_eq!(poll(), (2, 1));
        assert_eq!(poll(), (4, 2));
        // Nothing more waits, so that the connection sleeps.
        assert_eq!(poll(), (5, 2));
        assert_eq!(poll(), (5, 2));
        open(1);
        assert_eq!(begun.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn streams_that_wait_are_dropped_with_their_connection() {
        let turns = StreamTurns::new(1);
        let held = Arc::new(());
        let connection = InTurns::new(
            Box::pin(std::future::pending::<()>()),
            Arc::clone(&turns),
            |_: StreamTask| {},
        );
        for _ in 0..3 {
            let held = Arc::clone(&held);
            drop(turns.begin(async move { drop(held) }));
        }
        assert_eq!(Arc::strong_count(&held), 3);
        drop(connection);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

//! The state of one HTTP/2 stream: what h2 has of its response and has not written, how long its client has
//! taken none of that, and what is left unread of its request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use super::count::{CONNECTION_LIMIT, ConnectionHeld};
use crate::link::DrainQueue;

/// Bytes of a response that are given to a stream at a time: what the client must take within
/// [`Timeouts::send`](crate::Timeouts::send).
pub(crate) const STREAM_PIECE: usize = 16 * 1024;

/// In `unwritten`: the bit from which the stream's generation plus one is stored, which is 0 until the stream has
/// finished. The lower bits are unwritten bytes.
const GENERATION: u32 = 56;
const UNWRITTEN: u64 = (1 << GENERATION) - 1;

/// Once h2 has the end of a stream, the stream can be ended only together with its connection. So h2 gets the end
/// after all data has been written if that is likely to take long: for responses of more than this, and while the
/// connection holds more than [`CROWDED`].
const LARGE: u64 = 2 * STREAM_PIECE as u64;
const CROWDED: u64 = 64 * 1024;

/// Heads of at most so many bytes are counted only while the client accepts nothing. Before that they are written
/// at once, and counting them would not be worth its cost.
const SMALL_HEAD: u64 = 1024;

/// Trailers of more bytes go after all data has been written, too: h2 would hold them uncounted.
const LARGE_TRAILERS: usize = 1024;

/// The state of one stream, shared by its task, the bodies of its request and its response, and the pieces of
/// that which h2 has.
#[derive(Clone)]
pub(crate) struct StreamState(Arc<StreamCounts>);

struct StreamCounts {
    connection: Arc<ConnectionHeld>,
    /// Bytes of the response's head, until h2 has it.
    head: AtomicU64,
    /// Pieces that were given to hyper, and their bytes.
    pieces: AtomicU64,
    given: AtomicU64,
    /// The client has to take something before there is another piece.
    waits_for_client: AtomicBool,
    /// Bytes that were given to hyper and not written yet; once the stream has finished, with its
    /// generation.
    unwritten: AtomicU64,
    has_waiter: AtomicBool,
    /// Woken when nothing is unwritten.
    waiter: Mutex<Option<Waker>>,
    /// The request's body, if it was dropped unread.
    drain_queue: DrainQueue,
}

impl StreamState {
    pub(crate) fn new(connection: Arc<ConnectionHeld>) -> Self {
        connection.begin_stream();
        Self(Arc::new(StreamCounts {
            connection,
            head: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
            given: AtomicU64::new(0),
            waits_for_client: AtomicBool::new(false),
            unwritten: AtomicU64::new(0),
            has_waiter: AtomicBool::new(false),
            waiter: Mutex::new(None),
            drain_queue: DrainQueue::default(),
        }))
    }

    pub(crate) fn drain_queue(&self) -> &DrainQueue {
        &self.0.drain_queue
    }

    /// Waits until the stream's connection may hold a response. The stream's [`StreamStallTimer`] runs meanwhile.
    pub(crate) async fn wait_for_capacity(&self) {
        if self.0.connection.is_full() {
            self.wait_for_client();
            self.0.connection.wait_for_capacity().await;
            self.note_read_on();
        }
    }

    /// Counts a head of so many bytes, which is given to h2 within the present turn of the stream's task.
    pub(crate) fn hold_head(&self, bytes: u64) {
        let connection = &self.0.connection;
        if bytes > SMALL_HEAD || connection.link.is_stalled() {
            connection.hold(bytes);
            self.0.head.store(bytes, Relaxed);
        }
    }

    /// A turn of the stream's task has ended.
    pub(crate) fn end_turn(&self) {
        let head = &self.0.head;
        if head.load(Relaxed) > 0 {
            self.0.connection.queue_head(head.swap(0, Relaxed));
        }
    }

    /// hyper has taken all that it was given, and asks for more.
    pub(crate) fn note_read_on(&self) {
        self.0.waits_for_client.store(false, Relaxed);
    }

    /// The client has to take something first.
    pub(crate) fn wait_for_client(&self) {
        self.0.waits_for_client.store(true, Relaxed);
    }

    /// hyper has a piece now, and asks again when there is room for another.
    pub(super) fn note_given(&self, bytes: u64) {
        self.0.pieces.fetch_add(1, Relaxed);
        self.0.given.fetch_add(bytes, Relaxed);
        self.0.unwritten.fetch_add(bytes, SeqCst);
        self.wait_for_client();
    }

    /// So many bytes have been written, or were discarded.
    pub(super) fn note_written(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let connection = &self.0.connection;
        let before = self.0.unwritten.fetch_sub(bytes, SeqCst);
        if let Some(generation) = (before >> GENERATION).checked_sub(1) {
            connection.finished[generation as usize].fetch_sub(bytes.cast_signed(), Relaxed);
        }
        if before & UNWRITTEN == bytes
            && self.0.has_waiter.load(SeqCst)
            && let Some(waker) = self.0.waiter.lock().take()
        {
            waker.wake();
        }
    }

    /// hyper has no more use for the stream. Its unwritten bytes count as the connection's from now on.
    pub(crate) fn finish(&self) {
        let connection = &self.0.connection;
        let generation = u64::from(connection.generation.load(Relaxed));
        // Once for each stream, so that its bytes are not touched.
        let before = (self.0.unwritten).fetch_add((generation + 1) << GENERATION, SeqCst);
        let unwritten = before & UNWRITTEN;
        if unwritten > 0 {
            let finished = &connection.finished[generation as usize];
            finished.fetch_add(unwritten.cast_signed(), Relaxed);
        }
    }

    /// Waits until all that was given has been written.
    pub(crate) fn poll_written(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unwritten() == 0 {
            return Poll::Ready(());
        }
        *self.0.waiter.lock() = Some(cx.waker().clone());
        self.0.has_waiter.store(true, SeqCst);
        if self.unwritten() == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether something that was given waits for the client, or for its turn.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.unwritten() > 0
    }

    /// Whether more may be read of the response before what there is has been written.
    pub(crate) fn may_read_on(&self) -> bool {
        self.0.connection.bytes.load(Relaxed) < CONNECTION_LIMIT
    }

    /// Whether h2 gets the end, with trailers of so many bytes, only after all data has been written.
    pub(crate) fn withholds_end(&self, trailers: usize) -> bool {
        self.unwritten() > 0
            && (self.0.given.load(Relaxed) > LARGE
                || self.0.connection.bytes.load(Relaxed) > CROWDED
                || trailers > LARGE_TRAILERS)
    }

    pub(super) fn connection(&self) -> &Arc<ConnectionHeld> {
        &self.0.connection
    }

    fn unwritten(&self) -> u64 {
        self.0.unwritten.load(SeqCst) & UNWRITTEN
    }

    /// Changes whenever the client has taken a piece.
    fn progress(&self) -> u64 {
        let written = (self.0.given.load(Relaxed)).saturating_sub(self.unwritten());
        self.0.pieces.load(Relaxed) + written / STREAM_PIECE as u64
    }
}

impl Drop for StreamCounts {
    fn drop(&mut self) {
        let head = *self.head.get_mut();
        if head > 0 {
            // Its stream was dropped before h2 had it.
            self.connection.release(head);
        }
        self.connection.end_stream();
    }
}

/// Ends the wait of a stream for a client that takes nothing.
pub(crate) struct StreamStallTimer {
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// What the stream's progress was when the timer was set.
    progress: u64,
    /// What the connection had written then.
    written: u64,
}

impl StreamStallTimer {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            timer: None,
            progress: 0,
            written: 0,
        }
    }

    /// Ready when the client has taken nothing for too long.
    pub(crate) fn poll(&mut self, stream: &StreamState, cx: &mut Context<'_>) -> Poll<()> {
        if !stream.0.waits_for_client.load(Relaxed) {
            self.timer = None;
            return Poll::Pending;
        }
        let connection = &stream.0.connection;
        let progress = stream.progress();
        if self.timer.is_none() || self.progress != progress {
            self.set(progress, connection.written.load(Relaxed));
        }
        loop {
            let Some(timer) = &mut self.timer else {
                return Poll::Pending;
            };
            ready!(timer.as_mut().poll(cx));
            // A slow network serves one stream after the other.
            let written = connection.written.load(Relaxed);
            if !connection.link.is_stalled() || written - self.written < STREAM_PIECE as u64 {
                return Poll::Ready(());
            }
            self.set(progress, written);
        }
    }

    fn set(&mut self, progress: u64, written: u64) {
        (self.progress, self.written) = (progress, written);
        let timeout = self.timeout;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + timeout),
            None => self.timer = Some(Box::pin(sleep(timeout))),
        }
    }
}

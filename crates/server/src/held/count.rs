//! Counts the response data that is in memory because its client has not taken it yet: of each HTTP/2
//! stream, of each connection, and of all. `sweep` ends connections that take too little.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::counters::WorkerId;
use crate::link::ConnectionState;

/// Bytes of responses that are held for the client of one HTTP/2 connection from which on its further
/// requests wait: 32 KiB for each of the streams that it may have.
pub(super) const CONNECTION_LIMIT: u64 = 4 * 1024 * 1024;

/// What a stream of HTTP/2 takes itself until h2 has written all of its response: its task, its head, and what
/// h2 knows of it. Measured: 2.6 KiB where it has finished, 7 KiB where it has not begun.
pub(super) const STREAM_COST: u64 = 3 * 1024;

/// The limit is checked once for so many streams of a worker.
pub(super) const STREAMS_PER_CHECK: u64 = 64;

/// While more than the limit is held for all clients, connections that hold some ask again this often
/// whether they may begin another response.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// The periods in which streams finished, in a ring: they give the age of unwritten bytes.
pub(super) const GENERATIONS: usize = 8;

/// What is held for clients, as `/status` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldForClients {
    /// Bytes of responses that are in memory and wait for their clients.
    pub bytes: u64,
    /// The bytes beyond which connections are reset.
    pub limit: u64,
    /// Connections that were ended because their clients did not take what was held for them.
    pub ended_connections: u64,
}

/// The response data that is held for all clients of a server.
pub(crate) struct HeldTotal {
    pub(super) shards: Box<[Shard]>,
    pub(super) limit: u64,
    /// The limit is checked each time that the bytes of a worker pass a multiple of two to the power of this.
    pub(super) check_step: u32,
    /// More than `limit` was held at the last sweep, or since.
    pub(super) is_exceeded: AtomicBool,
    /// Has the next sweep begin at once.
    pub(super) exceeded: Notify,
    pub(super) ended: AtomicU64,
}

/// What the connections of one worker hold. Each worker has its own counters, so that no two cores write to the
/// same one for each response.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) bytes: AtomicU64,
    /// Streams of HTTP/2, each of which takes [`STREAM_COST`] beside.
    pub(super) streams: AtomicU64,
    /// Those that hold something, and some that held something at the last sweep.
    pub(super) holding: Mutex<Vec<Arc<ConnectionHeld>>>,
}

impl HeldTotal {
    pub(crate) fn new(workers: usize, limit: u64) -> Self {
        let workers = workers.max(1);
        let step = (limit / 64 / workers as u64).max(64 * 1024);
        Self {
            shards: (0..workers).map(|_| Shard::default()).collect(),
            limit,
            check_step: step.ilog2(),
            is_exceeded: AtomicBool::new(false),
            exceeded: Notify::new(),
            ended: AtomicU64::new(0),
        }
    }

    pub(crate) fn figures(&self) -> HeldForClients {
        HeldForClients {
            bytes: self.bytes(),
            limit: self.limit,
            ended_connections: self.ended.load(Relaxed),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let of = |it: &Shard| it.bytes.load(Relaxed) + it.streams.load(Relaxed) * STREAM_COST;
        self.shards.iter().map(of).sum()
    }

    /// Without what the streams themselves take.
    #[cfg(test)]
    pub(super) fn response_bytes(&self) -> u64 {
        self.shards.iter().map(|it| it.bytes.load(Relaxed)).sum()
    }

    /// Between two sweeps much more than the limit could come to be held.
    #[cold]
    pub(super) fn check_limit(&self) {
        let is_new = !self.is_exceeded.load(Relaxed) && self.bytes() > self.limit;
        if is_new && !self.is_exceeded.swap(true, Relaxed) {
            self.exceeded.notify_one();
        }
    }
}

/// Why the server ends a connection whose client does not take what is held for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Data of a finished stream has waited for too long.
    Stalled = 1,
    /// Too much is held for all clients together.
    Evicted = 2,
}

/// The response data that is held for the client of one connection.
pub(crate) struct ConnectionHeld {
    pub(super) total: Arc<HeldTotal>,
    pub(super) worker: WorkerId,
    pub(super) link: ConnectionState,
    /// How long the client may take nothing.
    pub(super) send: Duration,
    /// Bytes of memory, beside what its streams themselves take.
    pub(super) bytes: AtomicU64,
    pub(super) streams: AtomicU64,
    /// Bytes that the socket, or TLS, has taken since the connection began.
    pub(super) written: AtomicU64,
    /// Bytes that are unwritten of streams that have finished, by the generation that this was in. One may
    /// be below zero for a moment.
    pub(super) finished: [AtomicI64; GENERATIONS],
    pub(super) generation: AtomicU8,
    /// Bytes of responses' heads that h2 has, or has written since its connection was polled last.
    pub(super) heads: AtomicU64,
    /// Nothing will be written any more.
    pub(super) is_closed: AtomicBool,
    /// The last attempt to write has written all.
    pub(super) is_flushed: AtomicBool,
    /// Whether it is among those that are swept.
    pub(super) is_listed: AtomicBool,
    pub(super) swept: Mutex<Option<Swept>>,
    /// A [`Verdict`], or 0.
    pub(super) verdict: AtomicU8,
    /// Woken by a verdict.
    pub(super) waker: Mutex<Option<Waker>>,
    /// Notified when less than [`CONNECTION_LIMIT`] is held again.
    pub(super) has_capacity: Notify,
}

impl ConnectionHeld {
    pub(crate) fn new(
        total: Arc<HeldTotal>,
        worker: WorkerId,
        link: ConnectionState,
        send: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            total,
            worker,
            link,
            send,
            bytes: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            written: AtomicU64::new(0),
            finished: Default::default(),
            generation: AtomicU8::new(0),
            heads: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            is_flushed: AtomicBool::new(false),
            is_listed: AtomicBool::new(false),
            swept: Mutex::new(None),
            verdict: AtomicU8::new(0),
            waker: Mutex::new(None),
            has_capacity: Notify::new(),
        })
    }

    pub(super) fn hold(self: &Arc<Self>, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let before = self.shard().bytes.fetch_add(bytes, Relaxed);
        if (before ^ (before + bytes)) >> self.total.check_step != 0 {
            self.total.check_limit();
        }
        // Either this sees that a sweep has taken it off the list, or the sweep sees these bytes.
        self.bytes.fetch_add(bytes, SeqCst);
        self.list();
    }

    pub(super) fn begin_stream(self: &Arc<Self>) {
        let before = self.shard().streams.fetch_add(1, Relaxed);
        if before.is_multiple_of(STREAMS_PER_CHECK) {
            self.total.check_limit();
        }
        self.streams.fetch_add(1, SeqCst);
        self.list();
    }

    pub(super) fn end_stream(&self) {
        self.shard().streams.fetch_sub(1, Relaxed);
        self.streams.fetch_sub(1, SeqCst);
    }

    /// All that is held for it.
    pub(super) fn memory(&self) -> u64 {
        self.bytes.load(SeqCst) + self.streams.load(SeqCst) * STREAM_COST
    }

    pub(super) fn list(self: &Arc<Self>) {
        if !self.is_listed.load(SeqCst) && !self.is_listed.swap(true, SeqCst) {
            self.shard().holding.lock().push(Arc::clone(self));
        }
    }

    pub(super) fn release(&self, bytes: u64) {
        self.shard().bytes.fetch_sub(bytes, Relaxed);
        let before = self.bytes.fetch_sub(bytes, SeqCst);
        if before >= CONNECTION_LIMIT && before - bytes < CONNECTION_LIMIT {
            self.has_capacity.notify_waiters();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        let bytes = self.bytes.load(Relaxed);
        bytes >= CONNECTION_LIMIT || (bytes > 0 && self.total.is_exceeded.load(Relaxed))
    }

    /// Notes the result of a write for HTTP/2.
    pub(crate) fn note_write(&self, write: &Poll<io::Result<usize>>) {
        match write {
            Poll::Ready(Ok(written)) => _ = self.written.fetch_add(*written as u64, Relaxed),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.is_flushed.store(false, Relaxed),
        }
    }

    /// h2 has written all that it had before it flushes.
    pub(crate) fn note_flush(&self, is_flushed: bool) {
        self.is_flushed.store(is_flushed, Relaxed);
    }

    /// Waits until the connection may have one more response.
    pub(super) async fn wait_for_capacity(&self) {
        loop {
            let mut notified = pin!(self.has_capacity.notified());
            notified.as_mut().enable();
            if !self.is_full() {
                return;
            }
            tokio::select! {
                () = notified => {}
                () = sleep(RETRY) => {}
            }
        }
    }

    /// Waits until the connection is to be ended for `least`, or for a graver reason. Cancel-safe; one may wait at a
    /// time.
    pub(crate) async fn verdict(&self, least: Verdict) -> Verdict {
        poll_fn(|cx| self.poll_verdict(least, cx)).await
    }

    pub(super) fn poll_verdict(&self, least: Verdict, cx: &mut Context<'_>) -> Poll<Verdict> {
        let look = || match self.verdict.load(SeqCst) {
            0 => None,
            1 => Some(Verdict::Stalled),
            _ => Some(Verdict::Evicted),
        };
        {
            let mut waker = self.waker.lock();
            if !waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        match look() {
            Some(verdict) if verdict >= least => Poll::Ready(verdict),
            _ => Poll::Pending,
        }
    }

    /// Returns whether there was no verdict as grave before.
    pub(super) fn condemn(&self, verdict: Verdict) -> bool {
        let before = self.verdict.fetch_max(verdict as u8, SeqCst);
        if before == 0 {
            self.total.ended.fetch_add(1, Relaxed);
        }
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
        before < verdict as u8
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.total.shards[self.worker.0]
    }
}

/// What the last sweep found of a connection.
pub(super) struct Swept {
    /// When the present generation began, and what had been written by then.
    pub(super) generation: (Instant, u64),
    /// When a part of what is held had been taken last, and what had been written by then.
    pub(super) moved: (Instant, u64),
}

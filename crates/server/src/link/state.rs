//! The state of one connection, through which its socket, its driver and its requests know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::drain_queue::DrainQueue;
use super::first_byte::FirstByte;
use super::gather_orders::GatherOrders;
use super::hang_up::HangUpCheck;
use super::idle_notice::IdleNotice;
use super::turn::PipelineTurn;
use crate::tunnel::UpgradedConnection;

/// The state of one connection, shared by its socket, the task that drives it, and the bodies of its requests and
/// responses. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct ConnectionState(Arc<ConnectionFields>);

#[derive(Default)]
struct ConnectionFields {
    reset: AtomicBool,
    /// A write waits for the client.
    is_stalled: AtomicBool,
    requests: AtomicU64,
    /// Requests in progress, and their bodies.
    open: AtomicU64,
    /// When the next request's first byte came.
    first_byte: FirstByte,
    hang_up: HangUpCheck,
    turn: PipelineTurn,
    gather_orders: GatherOrders,
    idle_notice: IdleNotice,
    /// Bodies of HTTP/1 that were dropped unread.
    drain_queue: DrainQueue,
    /// A request had an `Upgrade` field, and hyper's connection has not ended since.
    asks_for_upgrade: AtomicBool,
    /// The server has decided to close the connection after the present response.
    closes: AtomicBool,
    /// The tunnel that takes the connection over from hyper.
    switched: Mutex<Option<UpgradedConnection>>,
}

impl ConnectionState {
    /// Makes the connection end in a reset, not in an orderly close.
    ///
    /// Only a reset tells the client of HTTP/1.0 that a body is cut off, since there the end of the
    /// connection is the end of the body (RFC 9112, section 6.3). It also frees what the kernel holds
    /// for a client that does not read.
    pub(crate) fn reset(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// Counts a request as in progress until the returned value is dropped.
    pub(crate) fn begin(&self) -> InFlightGuard {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.open()
    }

    /// Counts a body that is still to be read from the socket until the returned value is dropped.
    pub(crate) fn open(&self) -> InFlightGuard {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(self.clone())
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.0.reset.load(Ordering::Relaxed)
    }

    /// Records when each request's first byte comes, or stops that.
    pub(crate) fn want_first_bytes(&self, are_wanted: bool) {
        self.0.first_byte.want(are_wanted);
    }

    /// When the first byte of the request that begins now came, if that was recorded.
    pub(crate) fn take_first_byte(&self) -> Option<Instant> {
        self.0.first_byte.take()
    }

    /// Some bytes have been read, perhaps the first of a request.
    pub(crate) fn note_read(&self) {
        if self.0.first_byte.is_wanted() && self.0.open.load(Ordering::Relaxed) == 0 {
            self.0.first_byte.note_read();
        }
    }

    pub(crate) fn hang_up(&self) -> &HangUpCheck {
        &self.0.hang_up
    }

    pub(crate) fn turn(&self) -> &PipelineTurn {
        &self.0.turn
    }

    pub(crate) fn gather_orders(&self) -> &GatherOrders {
        &self.0.gather_orders
    }

    pub(crate) fn idle_notice(&self) -> &IdleNotice {
        &self.0.idle_notice
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Whether a write waits for the client.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.is_stalled.load(Ordering::Relaxed)
    }

    /// Records whether a write waits for the client.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.0.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Whether a request or its response is in progress.
    pub(crate) fn is_in_use(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }

    /// Whether the connection waits for a request, with nothing in progress.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_in_use() && !self.is_stalled() && self.switched().is_none()
    }

    /// Request bodies of HTTP/1 that were dropped unread, to be drained.
    pub(crate) fn drain_queue(&self) -> &DrainQueue {
        &self.0.drain_queue
    }

    /// Whether the responses to all requests of an HTTP/1 connection have been sent.
    pub(crate) fn is_answered(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) <= self.drain_queue().bodies() as u64
            && !self.0.is_stalled.load(Ordering::Relaxed)
    }

    /// A request has an `Upgrade` field: hyper remembers that until the connection ends.
    pub(crate) fn note_upgrade(&self) {
        self.0.asks_for_upgrade.store(true, Ordering::Relaxed);
    }

    /// Whether hyper has ended its connection for an upgrade that was requested, but not made. True once.
    pub(crate) fn is_upgrade_refused(&self) -> bool {
        self.0.asks_for_upgrade.swap(false, Ordering::Relaxed) && self.switched().is_none()
    }

    /// The server closes the connection after the present response, without the client having asked for that.
    pub(crate) fn note_close(&self) {
        self.0.closes.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed_by_server(&self) -> bool {
        self.0.closes.load(Ordering::Relaxed)
    }

    /// Hands the connection to a tunnel after the next response.
    pub(crate) fn switch(&self, to: UpgradedConnection) {
        *self.switched() = Some(to);
    }

    /// The tunnel that takes the connection over, if there is one.
    pub(crate) fn take_switched(&self) -> Option<UpgradedConnection> {
        // A tunnel continues when one side has ended: the other may still send to it.
        self.0.hang_up.cancel();
        self.switched().take()
    }

    fn switched(&self) -> MutexGuard<'_, Option<UpgradedConnection>> {
        self.0.switched.lock()
    }
}

/// Keeps a connection from being idle: a request, or a body, is in progress.
pub(crate) struct InFlightGuard(ConnectionState);

impl InFlightGuard {
    pub(crate) fn link(&self) -> &ConnectionState {
        &self.0
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.0.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.0.idle_notice.send();
        }
    }
}

//! The request bodies that were dropped unread, waiting to be drained by the task of their connection, or of their
//! HTTP/2 stream. Bodies are known here only as [`UnreadBody`], since they refer to their connection, which owns this
//! queue.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

/// A body that has been dropped unread.
pub(crate) trait UnreadBody: Send {
    /// Discards what has come. Ready when the body has ended or is given up.
    fn poll(&mut self, is_answered: bool, is_closing: bool, cx: &mut Context<'_>) -> Poll<Drained>;

    /// Whether it is longer than what is drained, or came in too many pieces.
    fn is_too_long(&self) -> bool;

    /// Whether it is known how long it is.
    fn announces_length(&self) -> bool;
}

pub(crate) enum Drained {
    /// The body has ended.
    Whole,
    /// More may come.
    Abandoned,
}

/// The bodies of one HTTP/1 connection, or of one stream of HTTP/2, that have been dropped unread.
#[derive(Default)]
pub(crate) struct DrainQueue {
    /// Bodies with content that are being read or drained.
    bodies: AtomicUsize,
    /// The client holds the body back, and the handler has tried to read it.
    is_asked: AtomicBool,
    /// The body of the stream has been read to its end.
    is_complete: AtomicBool,
    /// A body was given up before its end.
    is_abandoned: AtomicBool,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    /// In HTTP/1 all but the last are in hyper's hands as a whole already.
    unread: Vec<Box<dyn UnreadBody>>,
    /// Of the task that drains them.
    waker: Option<Waker>,
    /// The client holds the body back, and has not been sent `100 Continue`.
    awaits_continue: bool,
    /// The connection is closed after the present response, whatever becomes of the bodies in the queue.
    is_closing: bool,
    /// Nothing is drained any more.
    is_closed: bool,
}

impl DrainQueue {
    pub(crate) fn bodies(&self) -> usize {
        self.bodies.load(Ordering::Relaxed)
    }

    /// Decides, before the head of a response of HTTP/1 is written, whether it has to say
    /// `connection: close`, which it does already if `says_close`. Bodies that are then dropped are
    /// read only until the response has been sent.
    pub(crate) fn close_after_response(&self, says_close: bool) -> bool {
        if self.bodies() == 0 {
            return says_close;
        }
        let mut state = self.state();
        // Without an answer to `expect: 100-continue`, client and server may disagree on whether the
        // body follows (RFC 9110, section 10.1.1).
        let closes =
            says_close || state.awaits_continue || state.unread.iter().any(|it| it.is_too_long());
        state.awaits_continue = false;
        state.is_closing |= closes;
        closes || state.is_closing
    }

    /// The body has been asked for, which is what hyper sends `100 Continue` for: when it reads next, if it has
    /// not begun to write a response before that.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
    }

    /// hyper reads now.
    #[inline]
    pub(crate) fn begin_turn(&self) {
        if self.bodies() > 0 && self.is_asked.load(Ordering::Acquire) {
            self.is_asked.store(false, Ordering::Relaxed);
            self.state().awaits_continue = false;
        }
    }

    /// A request of HTTP/1 with content has begun.
    pub(crate) fn begin_body(&self, awaits_continue: bool, asks_for_close: bool) {
        // For an earlier request's body perhaps.
        self.is_asked.store(false, Ordering::Relaxed);
        let mut state = self.state();
        state.awaits_continue = awaits_continue;
        state.is_closing |= asks_for_close;
    }

    /// The client has begun to send the body.
    pub(crate) fn stop_awaiting_continue(&self) {
        self.state().awaits_continue = false;
    }

    /// Counts a body, until it is read or drained.
    pub(crate) fn add_body(&self) {
        self.bodies.fetch_add(1, Ordering::Relaxed);
    }

    /// A body has been read or drained, or was given up.
    pub(crate) fn remove_body(&self, is_of_stream: bool) {
        self.bodies.fetch_sub(1, Ordering::Relaxed);
        if is_of_stream && !self.is_complete.load(Ordering::Relaxed) {
            // Its end may have come after the last read, so that an `EndDelay` waits for nothing more.
            self.wake();
        }
    }

    /// Leaves a dropped body to the task that drains it.
    pub(crate) fn push(&self, unread: Box<dyn UnreadBody>) {
        let waker = {
            let mut state = self.state();
            if state.is_closed {
                // `unread` is dropped after the lock, which its drop may take.
                self.abandon();
                None
            } else {
                state.unread.push(unread);
                state.waker.take()
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.state().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether a stream's body is still to be read, or drained.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.bodies() > 0 && !self.is_complete.load(Ordering::Relaxed)
    }

    /// Whether it is known how long the dropped body is; `None` without one.
    pub(crate) fn announces_length(&self) -> Option<bool> {
        if self.bodies() == 0 {
            return None;
        }
        let state = self.state();
        let unread = state.unread.last()?;
        Some(unread.announces_length())
    }

    /// Drains bodies only until their responses are sent: the connection gets no further request.
    pub(crate) fn stop_keep_alive(&self) {
        self.state().is_closing = true;
    }

    /// Discards what has come. Ready when no dropped body is left to drain.
    ///
    /// `is_answered`: the response has been sent.
    #[inline]
    pub(crate) fn poll_drain(
        &self,
        is_answered: impl Fn() -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.bodies() == 0 {
            return Poll::Ready(());
        }
        self.poll_bodies(is_answered(), cx)
    }

    fn poll_bodies(&self, is_answered: bool, cx: &mut Context<'_>) -> Poll<()> {
        let mut guard = self.state();
        let state = &mut *guard;
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if state.awaits_continue && !is_answered {
            // To read would ask the client for what is not wanted.
            return Poll::Pending;
        }
        let is_closing = state.is_closing;
        let is_over =
            |unread: &mut Box<dyn UnreadBody>| match unread.poll(is_answered, is_closing, cx) {
                Poll::Pending => false,
                Poll::Ready(Drained::Whole) => true,
                Poll::Ready(Drained::Abandoned) => {
                    self.abandon();
                    true
                }
            };
        let over: Vec<_> = state.unread.extract_if(.., is_over).collect();
        let is_drained = state.unread.is_empty();
        if is_drained && !over.is_empty() {
            // What waits for this in the same task, an `EndDelay`, may have been polled before.
            cx.waker().wake_by_ref();
        }
        drop(guard);
        // Each takes the lock.
        drop(over);
        if is_drained {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether bytes of a body may still come that has been given up.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed) || !self.state().unread.is_empty()
    }

    pub(crate) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }
}

/// Closes the queue when the task that drains it ends: each body in it refers to it.
pub(crate) struct CloseQueue<'a>(pub(crate) &'a DrainQueue);

impl Drop for CloseQueue<'_> {
    fn drop(&mut self) {
        if self.0.bodies() == 0 {
            // And no further one can come: the task that drains has ended.
            return;
        }
        let mut state = self.0.state();
        state.is_closed = true;
        state.waker = None;
        let unread = std::mem::take(&mut state.unread);
        drop(state);
        drop(unread);
    }
}

//! What a request holds of a shared instance that serves it: where its response and the instance's failure arrive.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::Failure;
use crate::sandbox::head::{Head, HeadSlot};

/// A request in a shared instance. Dropping it cancels the request, and not the instance.
pub(crate) struct Ticket {
    head: HeadSlot,
    /// `None` when the head has arrived, or never will.
    head_arrives: Option<oneshot::Receiver<Head>>,
    /// `None` when the outcome is known.
    failed: Option<oneshot::Receiver<Failure>>,
    is_answered: bool,
}

impl Ticket {
    pub(crate) fn new(head: oneshot::Receiver<Head>, failed: oneshot::Receiver<Failure>) -> Self {
        Self {
            head: HeadSlot::default(),
            head_arrives: Some(head),
            failed: Some(failed),
            is_answered: false,
        }
    }

    pub(super) fn head(&self) -> &HeadSlot {
        &self.head
    }

    /// The failure of the instance, if there is one that has not been returned before.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failed.take()?.try_recv().ok()
    }

    /// Waits for the response's head, then for the end of the instance's work on this request.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Some(arrives) = &mut self.head_arrives
            && let Poll::Ready(head) = Pin::new(arrives).poll(cx)
        {
            self.head_arrives = None;
            if let Ok(head) = head {
                self.is_answered = true;
                self.head.set(head);
            }
        }
        let failed = match &mut self.failed {
            Some(failed) => Pin::new(failed).poll(cx),
            None => Poll::Pending,
        };
        if failed.is_ready() {
            self.failed = None;
        }
        match failed {
            Poll::Ready(Ok(failure)) => Poll::Ready(Err(failure)),
            // The worker is done with this request; how its body ended, the body itself says.
            Poll::Ready(Err(_)) if self.is_answered => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::NoResponse)),
            Poll::Pending => Poll::Pending,
        }
    }
}

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// A limit on each of the waits for one thing: it runs from the first time that there is nothing until
/// there is something, and costs nothing where nobody waits.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    /// Armed while somebody waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Waits of this length at most.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            waiting: None,
        }
    }

    /// There was something. Returns whether it has been waited for.
    pub fn rest(&mut self) -> bool {
        self.waiting.take().is_some()
    }

    /// There is nothing. Ready once that is so for too long. Needs a tokio runtime with time.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(cx)
    }
}

//! Concurrency limits of clients: one set for operators, and one for the clients that this process proxies.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::answer::Failure;
use crate::{BlockingThreads, Limits, Origin};

/// Answers to operators that are rendered at the same time. One may take some 100 ms of a thread, and much memory.
const RENDERED: usize = 2;

#[derive(Debug)]
pub(crate) struct Quotas {
    operator: Quota,
    proxied: Quota,
}

impl Quotas {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            operator: Quota::new(limits.connections, limits.body_total, RENDERED),
            proxied: Quota::new(limits.proxied_connections, limits.proxied_body_total, 1),
        }
    }

    pub(crate) fn of(&self, origin: Origin) -> &Quota {
        match origin {
            Origin::Operator => &self.operator,
            Origin::Proxied => &self.proxied,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Quota {
    connections: Arc<Semaphore>,
    /// A permit is a byte.
    bodies: Arc<Semaphore>,
    body_total: u32,
    rendering: Semaphore,
}

impl Quota {
    fn new(connections: usize, body_total: usize, rendering: usize) -> Self {
        let body_total = u32::try_from(body_total).unwrap_or(u32::MAX);
        let bytes = usize::try_from(body_total).unwrap_or(usize::MAX);
        Self {
            connections: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            bodies: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            body_total,
            rendering: Semaphore::new(rendering),
        }
    }

    /// Waits for the permit of a connection.
    pub(crate) async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        // Never `None`, since the semaphore is never closed.
        Arc::clone(&self.connections).acquire_owned().await.ok()
    }

    /// The permit of a connection, if one is free.
    pub(crate) fn free_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Waits for room for a body of `size` bytes, or for the whole budget if `size` is larger. First come, first
    /// served.
    pub(crate) async fn body(
        &self,
        size: usize,
        limits: &Limits,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bodies).acquire_many_owned(size.min(self.body_total));
        match timeout(limits.body_wait, room).await {
            Ok(Ok(room)) => Ok(room),
            // The semaphore is never closed, either.
            Ok(Err(_)) | Err(_) => Err(Failure::Busy {
                total: self.body_total,
            }),
        }
    }

    /// Renders an answer on one of `threads`, as soon as the limit admits it.
    pub(crate) async fn render<T: Send + 'static>(
        &self,
        threads: &BlockingThreads,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let _permit = self.rendering.acquire().await;
        threads.run(render).await
    }
}

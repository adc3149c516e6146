//! What clients may take at a time: operators, and apart from them the clients that this process proxies.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::answer::Failure;
use crate::{BlockingThreads, Limits, Origin};

/// Answers to operators that are rendered at a time. One may take a thread for some 100 ms, and much
/// memory.
const RENDERED: usize = 2;

/// The quota of each origin.
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

    /// A place for a connection, as soon as there is one.
    pub(crate) async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so that this is never `None`.
        Arc::clone(&self.connections).acquire_owned().await.ok()
    }

    /// A place for a connection, if there is one.
    pub(crate) fn free_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Room for a body of so many bytes, or for all that there may be. Requests get it in the order in
    /// which they ask.
    pub(crate) async fn body(
        &self,
        size: usize,
        limits: &Limits,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bodies).acquire_many_owned(size.min(self.body_total));
        match timeout(limits.body_wait, room).await {
            Ok(Ok(room)) => Ok(room),
            // Likewise never closed.
            Ok(Err(_)) | Err(_) => Err(Failure::Busy {
                total: self.body_total,
            }),
        }
    }

    /// Runs what renders an answer, when there is room for one more, on one of `threads`.
    pub(crate) async fn render<T: Send + 'static>(
        &self,
        threads: &BlockingThreads,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let _permit = self.rendering.acquire().await;
        threads.run(render).await
    }
}

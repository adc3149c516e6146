//! The limit on connections to other servers.

use std::sync::Arc;

use proxy::Proxy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limit on the connections to other servers that are open at a time.
pub(crate) struct UpstreamConnections {
    free: Arc<Semaphore>,
    limit: usize,
}

impl UpstreamConnections {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// What a connection has for as long as it is open. Idle ones are closed if there is no other way.
    pub(crate) fn permit(&self, proxy: &Proxy) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Some(permit);
            }
            if !proxy.close_longest_idle() {
                tracing::warn!(
                    "upstream connection limit ({}) reached; answering 503",
                    self.limit
                );
                return None;
            }
        }
    }
}

//! The limit on connections to other servers.

use std::sync::Arc;
use std::time::Duration;

use proxy::Proxy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use unit_log::LogInterval;

/// The log says at most this often that all are in use.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A limit on the connections to other servers that are open at a time.
pub(crate) struct UpstreamConnections {
    free: Arc<Semaphore>,
    limit: usize,
    exhausted: LogInterval,
}

impl UpstreamConnections {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
            exhausted: LogInterval::new(WARNING_INTERVAL),
        }
    }

    /// A permit for one connection, held until it is closed. If none is free, the connection that has been idle longest
    /// is closed. `None` if all are in use.
    pub(crate) fn permit(&self, proxy: &Proxy) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Some(permit);
            }
            if !proxy.close_longest_idle() {
                if self.exhausted.is_due() {
                    tracing::warn!(
                        "upstream connection limit ({}) reached; answering 503",
                        self.limit
                    );
                }
                return None;
            }
        }
    }
}

//! The runtimes that serve connections and HTTP/2 streams, and which of them gets the next one.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::counters::{Counters, OpenConnection, WorkerId};

/// The runtimes that connections are served on, each of which keeps what it was given: nothing is
/// handed from thread to thread for each request.
pub(crate) struct Workers {
    runtimes: Vec<Handle>,
    counters: Arc<Counters>,
}

impl Workers {
    pub(crate) fn new(runtimes: Vec<Handle>) -> Self {
        Self {
            // Without runtimes, connections are served on the caller's.
            counters: Arc::new(Counters::new(runtimes.len().max(1))),
            runtimes,
        }
    }

    /// How many threads serve.
    pub(crate) fn count(&self) -> usize {
        self.runtimes.len().max(1)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a connection in, at that one of the first `limit` workers that has the fewest.
    pub(crate) fn place(&self, limit: usize) -> OpenConnection {
        let worker = self.counters.least_connected(limit);
        self.counters.connect(worker)
    }

    /// Has a worker run a connection.
    pub(crate) fn spawn(&self, worker: WorkerId, work: impl Future<Output = ()> + Send + 'static) {
        match self.runtimes.get(worker.0) {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        };
    }

    /// Has a worker run a stream of HTTP/2, whose connection is at `home`. One connection may have the
    /// work of a whole machine.
    pub(crate) fn spawn_stream(
        &self,
        home: WorkerId,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let worker = self.counters.least_busy(home);
        let counted = self.counters.stream(worker);
        self.spawn(worker, async move {
            work.await;
            drop(counted);
        });
    }
}

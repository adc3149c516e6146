use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The connections of a server, as Unit's `/status/connections` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Accepted since the start.
    pub accepted: u64,
    /// With a request in progress.
    pub active: u64,
    /// Open and waiting for a request.
    pub idle: u64,
    /// Closed since the start.
    pub closed: u64,
}

/// What a server counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    closed: AtomicU64,
    active: AtomicU64,
    requests: AtomicU64,
}

impl Counters {
    pub(crate) fn connections(&self) -> Connections {
        // Read one after the other while connections come and go: never less than zero.
        let closed = self.closed.load(Relaxed);
        let active = self.active.load(Relaxed);
        let accepted = self.accepted.load(Relaxed);
        let idle = accepted.saturating_sub(closed).saturating_sub(active);
        Connections {
            accepted,
            active,
            idle,
            closed,
        }
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> u64 {
        let closed = self.closed.load(Relaxed);
        self.accepted.load(Relaxed).saturating_sub(closed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Counts a connection until the returned value is dropped.
    pub(crate) fn connect(self: &Arc<Self>) -> Connected {
        self.accepted.fetch_add(1, Relaxed);
        Connected {
            counters: Arc::clone(self),
            requests: AtomicU64::new(0),
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connected {
    counters: Arc<Counters>,
    /// In progress on this connection: more than one with HTTP/2.
    requests: AtomicU64,
}

impl Connected {
    /// Counts a request until the returned value is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> InRequest {
        self.counters.requests.fetch_add(1, Relaxed);
        if self.requests.fetch_add(1, Relaxed) == 0 {
            self.counters.active.fetch_add(1, Relaxed);
        }
        InRequest(Arc::clone(self))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.counters.closed.fetch_add(1, Relaxed);
    }
}

/// A request in progress on a connection.
#[derive(Debug)]
pub(crate) struct InRequest(Arc<Connected>);

impl Drop for InRequest {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Relaxed) == 1 {
            self.0.counters.active.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_active_while_any_of_its_requests_is() {
        let counters = Arc::new(Counters::default());
        let connection = Arc::new(counters.connect());
        assert_eq!(
            counters.connections(),
            Connections {
                accepted: 1,
                idle: 1,
                ..Default::default()
            }
        );
        assert_eq!(counters.open(), 1);
        let first = connection.request();
        let second = connection.request();
        drop(first);
        assert_eq!(
            counters.connections(),
            Connections {
                accepted: 1,
                active: 1,
                ..Default::default()
            }
        );
        drop(second);
        assert_eq!(counters.connections().idle, 1);
        drop(connection);
        assert_eq!(counters.open(), 0);
        assert_eq!(
            counters.connections(),
            Connections {
                accepted: 1,
                closed: 1,
                ..Default::default()
            }
        );
        assert_eq!(counters.requests(), 2);
    }
}

//! Counts connections and requests, one set of counters for each worker.

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

/// What happens on one worker, counted apart from the others: a counter that several cores write to
/// would cost each request more than all else that is done for it here.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    accepted: AtomicU64,
    closed: AtomicU64,
    active: AtomicU64,
    requests: AtomicU64,
    /// Streams of HTTP/2 that it runs.
    streams: AtomicU64,
    /// Idle connections of HTTP/1 whose buffers are freed.
    parked: AtomicU64,
}

impl Counts {
    /// Connections that are open.
    fn open(&self) -> u64 {
        let closed = self.closed.load(Relaxed);
        self.accepted.load(Relaxed).saturating_sub(closed)
    }

    /// What is in progress, roughly.
    fn load(&self) -> u64 {
        (self.active.load(Relaxed)).saturating_add(self.streams.load(Relaxed))
    }
}

/// What a server counts, for each of its workers.
#[derive(Debug)]
pub(crate) struct Counters(Box<[Counts]>);

/// A worker, by its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerId(pub(crate) usize);

impl Counters {
    /// # Panics
    ///
    /// Later, when there is no worker.
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Counts::default()).collect())
    }

    pub(crate) fn connections(&self) -> Connections {
        let sum =
            |of: fn(&Counts) -> &AtomicU64| self.0.iter().map(|it| of(it).load(Relaxed)).sum();
        // Read one after the other while connections come and go: never less than zero.
        let closed: u64 = sum(|it| &it.closed);
        let active: u64 = sum(|it| &it.active);
        let accepted: u64 = sum(|it| &it.accepted);
        let idle = accepted.saturating_sub(closed).saturating_sub(active);
        Connections {
            accepted,
            active,
            idle,
            closed,
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.0.iter().map(|it| it.requests.load(Relaxed)).sum()
    }

    pub(crate) fn parked(&self) -> u64 {
        self.0.iter().map(|it| it.parked.load(Relaxed)).sum()
    }

    /// Which of the first `limit` workers has the fewest connections. The first of several.
    pub(crate) fn least_connected(&self, limit: usize) -> WorkerId {
        self.least(limit, Counts::open)
    }

    /// The worker for a new HTTP/2 stream of a connection at `home`: `home`, unless another has clearly less to do,
    /// since handing a stream over costs both workers.
    pub(crate) fn least_busy(&self, home: WorkerId) -> WorkerId {
        let other = self.least(self.0.len(), Counts::load);
        let load = |worker: WorkerId| self.0[worker.0].load();
        if load(home) > load(other).saturating_add(1) {
            other
        } else {
            home
        }
    }

    fn least(&self, limit: usize, of: impl Fn(&Counts) -> u64) -> WorkerId {
        let first = self.0.iter().take(limit.max(1)).enumerate();
        let least = first.min_by_key(|(_, counts)| of(counts));
        WorkerId(least.map_or(0, |(place, _)| place))
    }

    /// Counts a connection of this worker's until the returned value is dropped.
    pub(crate) fn connect(self: &Arc<Self>, worker: WorkerId) -> OpenConnection {
        self.0[worker.0].accepted.fetch_add(1, Relaxed);
        OpenConnection {
            counters: Arc::clone(self),
            worker,
            requests: AtomicU64::new(0),
        }
    }

    /// Counts a stream that this worker runs until the returned value is dropped.
    pub(crate) fn stream(self: &Arc<Self>, worker: WorkerId) -> CountedStream {
        self.0[worker.0].streams.fetch_add(1, Relaxed);
        CountedStream {
            counters: Arc::clone(self),
            worker,
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    counters: Arc<Counters>,
    worker: WorkerId,
    /// In progress on this connection: more than one with HTTP/2.
    requests: AtomicU64,
}

impl OpenConnection {
    /// Whose it is.
    pub(crate) fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> ActiveRequest {
        let counts = self.counts();
        counts.requests.fetch_add(1, Relaxed);
        if self.requests.fetch_add(1, Relaxed) == 0 {
            counts.active.fetch_add(1, Relaxed);
        }
        ActiveRequest(Arc::clone(self))
    }

    /// Counts it as parked until the returned value is dropped.
    pub(crate) fn park(&self) -> ParkedConnection<'_> {
        self.counts().parked.fetch_add(1, Relaxed);
        ParkedConnection(self)
    }

    /// Connections that are open at its worker, itself included.
    pub(crate) fn neighbours(&self) -> u64 {
        self.counts().open()
    }

    fn counts(&self) -> &Counts {
        &self.counters.0[self.worker.0]
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counts().closed.fetch_add(1, Relaxed);
    }
}

/// A connection that is parked.
#[derive(Debug)]
pub(crate) struct ParkedConnection<'a>(&'a OpenConnection);

impl Drop for ParkedConnection<'_> {
    fn drop(&mut self) {
        self.0.counts().parked.fetch_sub(1, Relaxed);
    }
}

/// A request in progress on a connection.
#[derive(Debug)]
pub(crate) struct ActiveRequest(Arc<OpenConnection>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Relaxed) == 1 {
            self.0.counts().active.fetch_sub(1, Relaxed);
        }
    }
}

/// A stream of HTTP/2 in progress.
#[derive(Debug)]
pub(crate) struct CountedStream {
    counters: Arc<Counters>,
    worker: WorkerId,
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.counters.0[self.worker.0].streams.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_active_while_any_of_its_requests_is() {
        let counters = Arc::new(Counters::new(1));
        let connection = Arc::new(counters.connect(WorkerId(0)));
        assert_eq!(
            counters.connections(),
            Connections {
                accepted: 1,
                idle: 1,
                ..Default::default()
            }
        );
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

    #[test]
    fn load_balancing_gives_connections_to_the_worker_with_the_fewest_within_the_limit() {
        let counters = Arc::new(Counters::new(3));
        let place = || counters.least_connected(3);
        let first = counters.connect(place());
        let second = counters.connect(place());
        let third = counters.connect(place());
        let workers = [&first, &second, &third].map(OpenConnection::worker);
        assert_eq!(workers, [WorkerId(0), WorkerId(1), WorkerId(2)]);
        drop(second);
        assert_eq!(place(), WorkerId(1));
        assert_eq!(counters.least_connected(1), WorkerId(0));
        // There is always one.
        assert_eq!(counters.least_connected(0), WorkerId(0));
        let of_all = counters.connections();
        assert_eq!((of_all.accepted, of_all.closed, of_all.idle), (3, 1, 2));
    }

    #[test]
    fn a_stream_stays_at_home_unless_another_has_clearly_less_to_do() {
        let counters = Arc::new(Counters::new(2));
        let home = WorkerId(1);
        let connection = Arc::new(counters.connect(home));
        let request = connection.request();
        assert_eq!(counters.least_busy(home), home);
        let stream = counters.stream(home);
        assert_eq!(counters.least_busy(home), WorkerId(0));
        let other = counters.stream(WorkerId(0));
        assert_eq!(counters.least_busy(home), home);
        drop((stream, other, request));
        assert_eq!(counters.least_busy(WorkerId(0)), WorkerId(0));
    }
}

//! Session resumption by a cache in the server's memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;
use rustls::time_provider::TimeProvider;

/// The session cache, bounded in size and age. A new session evicts the oldest. (The cache of rustls has
/// no time limit.)
pub(crate) struct SessionCache {
    size: usize,
    /// In seconds.
    timeout: u64,
    clock: Arc<dyn TimeProvider>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    sessions: HashMap<Vec<u8>, Session>,
    /// Session ids by their sequence numbers, and so by age.
    order: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Entries {
    fn remove(&mut self, id: &[u8]) -> Option<Session> {
        let session = self.sessions.remove(id)?;
        self.order.remove(&session.number);
        Some(session)
    }

    fn oldest(&self) -> Option<&Session> {
        let (_, id) = self.order.first_key_value()?;
        self.sessions.get(id)
    }
}

struct Session {
    value: Vec<u8>,
    /// In seconds since 1970.
    put: u64,
    number: u64,
}

impl SessionCache {
    /// `size` is at least 1.
    pub(crate) fn new(size: usize, timeout: u64, clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            size,
            timeout,
            clock,
            entries: Mutex::default(),
        }
    }

    fn now(&self) -> Option<u64> {
        Some(self.clock.current_time()?.as_secs())
    }

    fn is_fresh(&self, session: &Session) -> bool {
        let age = self.now().map(|now| now.saturating_sub(session.put));
        age.is_some_and(|age| age <= self.timeout)
    }
}

impl StoresServerSessions for SessionCache {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        let Some(put) = self.now() else { return false };
        let mut entries = self.entries.lock();
        entries.remove(&id);
        let number = entries.next;
        entries.next += 1;
        entries.order.insert(number, id.clone());
        entries.sessions.insert(id, Session { value, put, number });
        // Expired sessions are removed as well: they can no longer be resumed.
        while let Some(oldest) = entries.oldest()
            && (entries.sessions.len() > self.size || !self.is_fresh(oldest))
            && let Some((_, id)) = entries.order.pop_first()
        {
            entries.sessions.remove(&id);
        }
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        let entries = self.entries.lock();
        let session = entries.sessions.get(id)?;
        self.is_fresh(session).then(|| session.value.clone())
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let session = self.entries.lock().remove(id)?;
        self.is_fresh(&session).then_some(session.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.entries.lock().sessions.len();
        write!(f, "SessionCache({count} of {})", self.size)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    /// A clock that only `advance` moves.
    #[derive(Debug, Default)]
    pub(crate) struct ManualClock(AtomicU64);

    impl ManualClock {
        pub(crate) fn advance(&self, seconds: u64) {
            self.0.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    impl TimeProvider for ManualClock {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = 1_000_000_000 + self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
        }
    }

    fn sessions(size: usize, timeout: u64) -> (SessionCache, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (SessionCache::new(size, timeout, clock.clone()), clock)
    }

    fn put(sessions: &SessionCache, id: u8) {
        assert!(sessions.put(vec![id], vec![id; 3]));
    }

    fn kept(sessions: &SessionCache) -> Vec<u8> {
        (0..=255)
            .filter(|&id| sessions.get(&[id]).is_some())
            .collect()
    }

    #[test]
    fn a_full_session_cache_evicts_the_oldest_session() {
        for size in 1..8 {
            let (sessions, _) = sessions(size, 300);
            for id in 0..20 {
                put(&sessions, id);
                let first = (id + 1).saturating_sub(u8::try_from(size).unwrap());
                assert_eq!(kept(&sessions), (first..=id).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_session_is_resumed_once_by_take_and_repeatedly_by_get() {
        let (sessions, _) = sessions(2, 300);
        put(&sessions, 1);
        assert_eq!(sessions.get(&[1]), Some(vec![1; 3]));
        assert_eq!(sessions.take(&[1]), Some(vec![1; 3]));
        assert_eq!((sessions.take(&[1]), sessions.get(&[1])), (None, None));
        // Sessions that were taken do not count towards the size.
        for id in [2, 3, 4] {
            put(&sessions, id);
            sessions.take(&[id]).unwrap();
        }
        put(&sessions, 5);
        put(&sessions, 6);
        assert_eq!(kept(&sessions), [5, 6]);
    }

    #[test]
    fn a_session_that_is_put_again_gets_a_new_age() {
        let (sessions, clock) = sessions(2, 10);
        put(&sessions, 1);
        clock.advance(8);
        put(&sessions, 2);
        put(&sessions, 1);
        clock.advance(8);
        assert_eq!(kept(&sessions), [1, 2]);
        put(&sessions, 3);
        assert_eq!(kept(&sessions), [1, 3]);
    }

    #[test]
    fn a_session_cannot_be_resumed_after_its_timeout() {
        let (sessions, clock) = sessions(9, 10);
        put(&sessions, 1);
        put(&sessions, 2);
        clock.advance(10);
        put(&sessions, 3);
        assert_eq!(kept(&sessions), [1, 2, 3]);
        clock.advance(1);
        assert_eq!(kept(&sessions), [3]);
        assert_eq!(sessions.take(&[1]), None);
        // The next session frees the memory of the expired ones.
        put(&sessions, 4);
        assert_eq!(sessions.entries.lock().sessions.len(), 2);
        assert_eq!(sessions.entries.lock().order.len(), 2);
    }

    #[test]
    fn a_session_that_is_taken_leaves_no_entry() {
        let (sessions, _) = sessions(1000, 300);
        put(&sessions, 0);
        for _ in 0..100 {
            put(&sessions, 1);
            sessions.take(&[1]);
        }
        put(&sessions, 0);
        let entries = sessions.entries.lock();
        assert_eq!((entries.sessions.len(), entries.order.len()), (1, 1));
    }
}

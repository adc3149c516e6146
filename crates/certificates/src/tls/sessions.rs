use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;
use rustls::time_provider::TimeProvider;

/// Sessions that this server keeps: so many at most, for so long. A new one takes the place of the
/// oldest. (rustls has a cache of its own, which knows no time.)
pub(crate) struct Sessions {
    size: usize,
    /// In seconds.
    timeout: u64,
    clock: Arc<dyn TimeProvider>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<Vec<u8>, Session>,
    /// Their ids by their numbers, and so by age.
    order: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Kept {
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
    /// In seconds.
    put: u64,
    number: u64,
}

impl Sessions {
    /// `size` is at least 1.
    pub(crate) fn new(size: usize, timeout: u64, clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            size,
            timeout,
            clock,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Option<u64> {
        Some(self.clock.current_time()?.as_secs())
    }

    fn is_fresh(&self, session: &Session) -> bool {
        let age = self.now().map(|now| now.saturating_sub(session.put));
        age.is_some_and(|age| age <= self.timeout)
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        let Some(put) = self.now() else { return false };
        let mut kept = self.kept();
        kept.remove(&id);
        let number = kept.next;
        kept.next += 1;
        kept.order.insert(number, id.clone());
        kept.sessions.insert(id, Session { value, put, number });
        // What is over goes as well: nobody would ask for it again.
        while let Some(oldest) = kept.oldest()
            && (kept.sessions.len() > self.size || !self.is_fresh(oldest))
            && let Some((_, id)) = kept.order.pop_first()
        {
            kept.sessions.remove(&id);
        }
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        let kept = self.kept();
        let session = kept.sessions.get(id)?;
        self.is_fresh(session).then(|| session.value.clone())
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let session = self.kept().remove(id)?;
        self.is_fresh(&session).then_some(session.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.kept().sessions.len();
        write!(f, "Sessions({count} of {})", self.size)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    /// Time that goes on when it is told to.
    #[derive(Debug, Default)]
    pub(crate) struct Clock(AtomicU64);

    impl Clock {
        pub(crate) fn advance(&self, seconds: u64) {
            self.0.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = 1_000_000_000 + self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
        }
    }

    fn sessions(size: usize, timeout: u64) -> (Sessions, Arc<Clock>) {
        let clock = Arc::new(Clock::default());
        (Sessions::new(size, timeout, clock.clone()), clock)
    }

    fn put(sessions: &Sessions, id: u8) {
        assert!(sessions.put(vec![id], vec![id; 3]));
    }

    fn kept(sessions: &Sessions) -> Vec<u8> {
        (0..=255)
            .filter(|&id| sessions.get(&[id]).is_some())
            .collect()
    }

    #[test]
    fn the_oldest_makes_room() {
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
    fn a_session_is_taken_once_and_got_as_often_as_asked_for() {
        let (sessions, _) = sessions(2, 300);
        put(&sessions, 1);
        assert_eq!(sessions.get(&[1]), Some(vec![1; 3]));
        assert_eq!(sessions.take(&[1]), Some(vec![1; 3]));
        assert_eq!((sessions.take(&[1]), sessions.get(&[1])), (None, None));
        // Those that are gone do not push others out.
        for id in [2, 3, 4] {
            put(&sessions, id);
            sessions.take(&[id]).unwrap();
        }
        put(&sessions, 5);
        put(&sessions, 6);
        assert_eq!(kept(&sessions), [5, 6]);
    }

    #[test]
    fn what_is_put_once_more_is_new() {
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
    fn a_session_lives_for_so_long_and_no_longer() {
        let (sessions, clock) = sessions(9, 10);
        put(&sessions, 1);
        put(&sessions, 2);
        clock.advance(10);
        put(&sessions, 3);
        assert_eq!(kept(&sessions), [1, 2, 3]);
        clock.advance(1);
        assert_eq!(kept(&sessions), [3]);
        assert_eq!(sessions.take(&[1]), None);
        // And takes no memory after the next one.
        put(&sessions, 4);
        assert_eq!(sessions.kept().sessions.len(), 2);
        assert_eq!(sessions.kept().order.len(), 2);
    }

    #[test]
    fn what_is_taken_leaves_nothing_behind() {
        let (sessions, _) = sessions(1000, 300);
        put(&sessions, 0);
        for _ in 0..100 {
            put(&sessions, 1);
            sessions.take(&[1]);
        }
        put(&sessions, 0);
        let kept = sessions.kept();
        assert_eq!((kept.sessions.len(), kept.order.len()), (1, 1));
    }
}

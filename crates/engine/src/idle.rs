use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::instance::Instance;

/// Instances that wait for their next request at a time, over all applications. Each keeps its
/// memory.
const MOST: usize = 64;

/// Instances between two requests, of applications that allow that.
///
/// The one that was used last is used next: its memory is still in the caches, and the others can
/// go when room is needed.
#[derive(Default)]
pub(crate) struct Idle {
    instances: Mutex<VecDeque<(u64, Instance)>>,
    /// How many there are, for those who need not know exactly.
    count: AtomicUsize,
    closed: AtomicBool,
}

impl Idle {
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Keeps an instance for the application of this number.
    pub(crate) fn put(&self, application: u64, instance: Instance) {
        let mut instances = self.lock();
        // Asked behind the lock: `close` says so before it takes it.
        if self.closed.load(Ordering::SeqCst) {
            drop(instances);
            return;
        }
        // Destroyed after the lock is given back.
        let oldest = (instances.len() >= MOST)
            .then(|| instances.pop_front())
            .flatten();
        instances.push_back((application, instance));
        self.unlock(instances);
        drop(oldest);
    }

    /// The instance of this application that was used last.
    pub(crate) fn take(&self, application: u64) -> Option<Instance> {
        if self.is_empty() {
            return None;
        }
        let mut instances = self.lock();
        let index = instances.iter().rposition(|(of, _)| *of == application);
        let found = index.and_then(|index| instances.remove(index));
        self.unlock(instances);
        found.map(|(_, instance)| instance)
    }

    /// Destroys the one that has waited longest, if there is any.
    pub(crate) fn evict(&self) {
        let mut instances = self.lock();
        let oldest = instances.pop_front();
        self.unlock(instances);
        drop(oldest);
    }

    /// Destroys those of an application that is no more.
    pub(crate) fn forget(&self, application: u64) {
        if self.is_empty() {
            return;
        }
        let mut instances = self.lock();
        let (gone, kept) = instances
            .drain(..)
            .partition::<VecDeque<_>, _>(|(of, _)| *of == application);
        *instances = kept;
        self.unlock(instances);
        drop(gone);
    }

    /// Destroys all, and keeps none from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let mut instances = self.lock();
        let gone = std::mem::take(&mut *instances);
        self.unlock(instances);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Instance)>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lock back, with the number that others go by.
    #[expect(clippy::needless_pass_by_value, reason = "the lock ends here")]
    fn unlock(&self, instances: MutexGuard<'_, VecDeque<(u64, Instance)>>) {
        self.count.store(instances.len(), Ordering::Relaxed);
    }
}

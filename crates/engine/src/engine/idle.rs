//! Idle instances: between two requests, of applications that reuse them. Who may get a new instance is decided
//! by the [pool](crate::engine::instance_pool).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::engine::instance_pool::{InstancePool, InstanceShare, Pooled};

/// Idle instances at a time, of all applications. Each keeps its memory.
const MOST: usize = 64;

/// An instance that has been idle for so long may be destroyed for any application.
const LONG: Duration = Duration::from_secs(10);

/// The idle instances of all applications.
///
/// Last in, first out: the memory of the instance that was used last is still in the caches, and the others can be
/// destroyed when room is needed.
pub(crate) struct IdlePool<I> {
    instances: Mutex<VecDeque<IdleInstance<I>>>,
    /// Their slots. Changed under the lock.
    slots: AtomicU64,
    closed: AtomicBool,
}

struct IdleInstance<I> {
    instance: I,
    since: Instant,
}

impl<I> Default for IdlePool<I> {
    fn default() -> Self {
        Self {
            instances: Mutex::default(),
            slots: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }
}

impl<I: Pooled> IdlePool<I> {
    /// The slots of all of them.
    pub(crate) fn slots(&self) -> u64 {
        self.slots.load(Ordering::Relaxed)
    }

    /// The slots of those that may be destroyed for a request of this application.
    pub(crate) fn slots_for(&self, application: &InstanceShare<I>) -> u64 {
        if self.slots() == 0 {
            return 0;
        }
        slots_for(&self.instances.lock(), application, Instant::now())
    }

    /// Keeps an instance, and destroys another one where there are too many.
    pub(crate) fn put(&self, instance: I) {
        let mut instances = self.instances.lock();
        // Checked under the lock: `close` sets the flag before it takes the lock, and so finds this instance or is
        // seen here.
        if self.closed.load(Ordering::SeqCst) {
            drop(instances);
            return;
        }
        self.count(&instance, u64::wrapping_add);
        let since = Instant::now();
        instances.push_back(IdleInstance { instance, since });
        let excess = (instances.len() > MOST).then(|| remove_one(&mut instances, |_| true));
        let excess = self.removed(excess.flatten());
        // Destroyed after the lock is released.
        drop(instances);
        drop(excess);
    }

    /// The instance of this application that was used last.
    pub(crate) fn take(&self, application: &Arc<InstanceShare<I>>) -> Option<I> {
        self.take_for(|of| Arc::ptr_eq(of, application))
    }

    /// The instance that was used last, among those of the applications that `is_one` selects.
    pub(crate) fn take_for(&self, is_one: impl Fn(&Arc<InstanceShare<I>>) -> bool) -> Option<I> {
        if self.slots() == 0 {
            return None;
        }
        let mut instances = self.instances.lock();
        let index = instances.iter().rposition(|it| is_one(it.instance.share()));
        let removed = index.and_then(|index| instances.remove(index));
        self.removed(removed.map(|it| it.instance))
    }

    /// Destroys as many as are in the way of waiting requests.
    pub(crate) fn make_room(&self, pool: &InstancePool<I>) {
        loop {
            let mut instances = self.instances.lock();
            if instances.is_empty() {
                return;
            }
            let now = Instant::now();
            let wanted_by = pool.wanted_by(|application| slots_for(&instances, application, now));
            let oldest = wanted_by.and_then(|application| {
                remove_one(&mut instances, |idle| idle.may_go_for(&application, now))
            });
            let oldest = self.removed(oldest);
            drop(instances);
            if oldest.is_none() {
                return;
            }
            // The drop of its permit grants its slots to a waiting request.
            drop(oldest);
        }
    }

    /// Destroys those of an application that has been removed.
    pub(crate) fn remove_all(&self, application: &Arc<InstanceShare<I>>) {
        while let Some(instance) = self.take(application) {
            drop(instance);
        }
    }

    /// Destroys all of them, and keeps none from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let mut instances = self.instances.lock();
        let gone = std::mem::take(&mut *instances);
        self.slots.store(0, Ordering::Relaxed);
        drop(instances);
        drop(gone);
    }

    /// Counts an instance that is added or removed. Called under the lock.
    fn count(&self, instance: &I, change: impl Fn(u64, u64) -> u64) {
        let slots = change(self.slots(), instance.share().slots());
        self.slots.store(slots, Ordering::Relaxed);
    }

    fn removed(&self, instance: Option<I>) -> Option<I> {
        if let Some(instance) = &instance {
            self.count(instance, u64::wrapping_sub);
        }
        instance
    }
}

impl<I: Pooled> IdleInstance<I> {
    /// Whether it may be destroyed for a request of this application: if its own application holds at least as
    /// much, relative to its weight, or it has been idle for long. So a flood does not destroy the instances of
    /// others one by one.
    fn may_go_for(&self, application: &InstanceShare<I>, now: Instant) -> bool {
        !application.has_more_than(self.instance.share())
            || now.saturating_duration_since(self.since) >= LONG
    }
}

/// The slots of those that may be destroyed for a request of this application.
fn slots_for<I: Pooled>(
    instances: &VecDeque<IdleInstance<I>>,
    application: &InstanceShare<I>,
    now: Instant,
) -> u64 {
    let idle = instances.iter();
    let idle = idle.filter(|idle| idle.may_go_for(application, now));
    idle.map(|idle| idle.instance.share().slots())
        .fold(0, u64::saturating_add)
}

/// Removes the one that has been idle for longest, of the application that holds most, among those that `is_one`
/// selects.
fn remove_one<I: Pooled>(
    instances: &mut VecDeque<IdleInstance<I>>,
    is_one: impl Fn(&IdleInstance<I>) -> bool,
) -> Option<I> {
    let mut found: Option<(usize, &Arc<InstanceShare<I>>)> = None;
    for (index, idle) in instances.iter().enumerate() {
        let share = idle.instance.share();
        if is_one(idle) && found.is_none_or(|(_, most)| share.has_more_than(most)) {
            found = Some((index, share));
        }
    }
    let index = found?.0;
    instances.remove(index).map(|idle| idle.instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::instance_pool::test_pool::{
        TestInstance, fill, pool, share, try_acquire, used, waits,
    };

    #[test]
    fn the_instance_that_was_used_last_is_reused_first() {
        let pool = pool(16);
        let idle = IdlePool::<TestInstance>::default();
        // Of several slots, to tell them apart.
        let [one, other] = [1, 2].map(|slots| share(&pool, 1, slots));
        idle.put(try_acquire(&one).unwrap());
        idle.put(try_acquire(&other).unwrap());
        let last = idle.take_for(|_| true).unwrap();
        assert!(Arc::ptr_eq(last.share(), &other));
        assert!(idle.take(&other).is_none());
        assert!(idle.take(&one).is_some());
        assert_eq!(idle.slots(), 0);
    }

    #[test]
    fn no_more_instances_than_allowed_are_idle() {
        let pool = pool(1000);
        let idle = IdlePool::<TestInstance>::default();
        let application = share(&pool, 1, 1);
        for _ in 0..MOST + 10 {
            idle.put(try_acquire(&application).unwrap());
        }
        assert_eq!(
            (idle.slots(), used(&application)),
            (MOST as u64, MOST as u64)
        );
    }

    #[test]
    fn instances_of_a_removed_application_are_destroyed_and_a_closed_pool_keeps_none() {
        let pool = pool(16);
        let idle = IdlePool::<TestInstance>::default();
        let [removed, other] = [1, 1].map(|slots| share(&pool, 1, slots));
        for application in [&removed, &other, &removed] {
            idle.put(try_acquire(application).unwrap());
        }
        idle.remove_all(&removed);
        assert_eq!((used(&removed), used(&other), idle.slots()), (0, 1, 1));
        idle.close();
        idle.put(try_acquire(&removed).unwrap());
        assert_eq!((pool.taken(), idle.slots()), (0, 0));
    }

    #[tokio::test]
    async fn idle_instances_make_room_for_a_request_that_needs_several_slots() {
        let pool = pool(16);
        let idle = IdlePool::<TestInstance>::default();
        let others: Vec<_> = (0..4).map(|_| share(&pool, 1, 1)).collect();
        for application in &others {
            (0..3).for_each(|_| idle.put(try_acquire(application).unwrap()));
        }
        let small = share(&pool, 1, 1);
        let _busy: Vec<_> = (0..3).map(|_| try_acquire(&small).unwrap()).collect();
        let large = share(&pool, 1, 5);
        let waiting = waits(&large).await;
        idle.make_room(&pool);
        assert!(waiting.await.unwrap().is_some());
        // No more of them than it took, and in turn.
        let left: Vec<_> = others.iter().map(|it| used(it)).collect();
        assert!(left.iter().all(|left| (1..=2).contains(left)), "{left:?}");
        assert!(idle.slots() >= 6, "{left:?}");
    }

    #[tokio::test]
    async fn a_flood_destroys_no_idle_instance_of_others() {
        for (limit, others) in [(8, 1), (10, 1), (16, 4), (48, 8), (1000, 40)] {
            let pool = pool(limit);
            let idle = IdlePool::<TestInstance>::default();
            let small = share(&pool, 1, 1);
            (0..others).for_each(|_| idle.put(try_acquire(&small).unwrap()));
            let greedy = share(&pool, 1, 1);
            let mut held = fill(&greedy);
            let flood = waits(&greedy).await;
            idle.make_room(&pool);
            assert_eq!(idle.slots(), others, "of {limit}");
            // What one of its requests leaves goes to another one, again and again.
            for _ in 0..2 * others {
                idle.put(held.pop().unwrap());
                held.extend(idle.take(&greedy));
                idle.make_room(&pool);
            }
            assert_eq!((idle.slots(), used(&small)), (others, others), "of {limit}");
            flood.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn instances_that_have_been_idle_for_long_make_room_for_any_application() {
        let pool = pool(16);
        let idle = IdlePool::<TestInstance>::default();
        for _ in 0..15 {
            let other = share(&pool, 1, 1);
            idle.put(try_acquire(&other).unwrap());
        }
        let busy = share(&pool, 1, 1);
        let mut held = Vec::new();
        for count in [2, 12] {
            while held.len() < count {
                if let Some(permit) = try_acquire(&busy) {
                    held.push(permit);
                    continue;
                }
                let waiting = waits(&busy).await;
                idle.make_room(&pool);
                held.push(waiting.await.unwrap().unwrap());
            }
            let waiting = waits(&busy).await;
            idle.make_room(&pool);
            assert_eq!(used(&busy), count as u64);
            waiting.abort();
            assert!(waiting.await.is_err());
            tokio::time::advance(LONG).await;
        }
    }

    #[tokio::test]
    async fn idle_instances_of_the_application_that_holds_most_are_destroyed_first() {
        let pool = pool(16);
        let idle = IdlePool::<TestInstance>::default();
        let small = share(&pool, 1, 1);
        idle.put(try_acquire(&small).unwrap());
        let greedy = share(&pool, 1, 1);
        fill(&greedy).into_iter().for_each(|it| idle.put(it));
        let other = share(&pool, 1, 1);
        let busy = fill(&other);
        assert!(!busy.is_empty());
        let waiting = waits(&other).await;
        idle.make_room(&pool);
        assert!(waiting.await.unwrap().is_some());
        assert_eq!(used(&small), 1);
    }
}

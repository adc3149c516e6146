use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::instance_pool::{InstancePool, InstanceShare};
use crate::sandbox::Instance;

/// Instances that wait for their next request at a time, over all applications. Each keeps its
/// memory.
const MOST: usize = 64;

/// An instance that has waited for so long is destroyed for any application.
const LONG: Duration = Duration::from_secs(10);

/// Instances between two requests, of applications that allow that.
///
/// The one that was used last is used next: its memory is still in the caches, and the others can
/// go when room is needed.
pub(crate) struct Idle<I = Instance> {
    instances: Mutex<VecDeque<IdleInstance<I>>>,
    /// What they count for. Changed under the lock.
    slots: AtomicU64,
    closed: AtomicBool,
}

struct IdleInstance<I> {
    instance: I,
    since: Instant,
}

/// What can be idle: an instance. In tests, what it has of its application's share.
pub(crate) trait HasShare {
    /// What it counts against.
    fn share(&self) -> &Arc<InstanceShare>;
}

impl HasShare for Instance {
    fn share(&self) -> &Arc<InstanceShare> {
        self.share()
    }
}

impl<I> Default for Idle<I> {
    fn default() -> Self {
        Self {
            instances: Mutex::default(),
            slots: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }
}

impl<I: HasShare> Idle<I> {
    /// What they count for.
    pub(crate) fn slots(&self) -> u64 {
        self.slots.load(Ordering::Relaxed)
    }

    /// What those count for that may be destroyed for a request of this application.
    pub(crate) fn slots_for(&self, application: &InstanceShare) -> u64 {
        if self.slots() == 0 {
            return 0;
        }
        slots_for(&self.lock(), application, Instant::now())
    }

    /// Keeps an instance.
    pub(crate) fn put(&self, instance: I) {
        let mut instances = self.lock();
        // Asked behind the lock: `close` says so before it takes it.
        if self.closed.load(Ordering::SeqCst) {
            drop(instances);
            return;
        }
        self.count(&instance, u64::wrapping_add);
        let since = Instant::now();
        instances.push_back(IdleInstance { instance, since });
        let excess = (instances.len() > MOST).then(|| remove_one(&mut instances, |_| true));
        let excess = self.removed(excess.flatten());
        // Destroyed after the lock is given back.
        drop(instances);
        drop(excess);
    }

    /// The instance of this application that was used last.
    pub(crate) fn take(&self, application: &Arc<InstanceShare>) -> Option<I> {
        self.take_for(|of| Arc::ptr_eq(of, application))
    }

    /// The instance that was used last, of those whose application is one of these.
    pub(crate) fn take_for(&self, is_one: impl Fn(&Arc<InstanceShare>) -> bool) -> Option<I> {
        if self.slots() == 0 {
            return None;
        }
        let mut instances = self.lock();
        let index = instances.iter().rposition(|it| is_one(it.instance.share()));
        let removed = index.and_then(|index| instances.remove(index));
        self.removed(removed.map(|it| it.instance))
    }

    /// Destroys as many as it takes for a request that waits to get an instance, if any gets one that way.
    pub(crate) fn make_room(&self, pool: &InstancePool) {
        loop {
            let mut instances = self.lock();
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
            // Its permit's end grants its place to a request that waits.
            drop(oldest);
        }
    }

    /// Destroys those of an application that is no more.
    pub(crate) fn forget(&self, application: &Arc<InstanceShare>) {
        while let Some(instance) = self.take(application) {
            drop(instance);
        }
    }

    /// Destroys all, and keeps none from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let mut instances = self.lock();
        let gone = std::mem::take(&mut *instances);
        self.slots.store(0, Ordering::Relaxed);
        drop(instances);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<IdleInstance<I>>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// As if all had waited for long.
    #[cfg(test)]
    pub(crate) fn make_old(&self) {
        for idle in self.lock().iter_mut() {
            idle.since = idle.since.checked_sub(LONG).unwrap_or(idle.since);
        }
    }

    /// Under the lock: an instance comes or goes.
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

impl<I: HasShare> IdleInstance<I> {
    /// Whether it may be destroyed for a request of this application: if its own has no less, each for its
    /// weight, or it is hardly needed. So a flood does not take the instances of others one by one.
    fn may_go_for(&self, application: &InstanceShare, now: Instant) -> bool {
        !application.has_more_than(self.instance.share())
            || now.saturating_duration_since(self.since) >= LONG
    }
}

/// What those count for that may be destroyed for a request of this application.
fn slots_for<I: HasShare>(
    instances: &VecDeque<IdleInstance<I>>,
    application: &InstanceShare,
    now: Instant,
) -> u64 {
    let idle = instances.iter();
    let idle = idle.filter(|idle| idle.may_go_for(application, now));
    idle.map(|idle| idle.instance.share().slots())
        .fold(0, u64::saturating_add)
}

/// The one that has waited longest, of the application that has most of all instances, among some.
fn remove_one<I: HasShare>(
    instances: &mut VecDeque<IdleInstance<I>>,
    is_one: impl Fn(&IdleInstance<I>) -> bool,
) -> Option<I> {
    let mut found: Option<(usize, &Arc<InstanceShare>)> = None;
    for (index, idle) in instances.iter().enumerate() {
        let share = idle.instance.share();
        if is_one(idle) && found.is_none_or(|(_, most)| share.has_more_than(most)) {
            found = Some((index, share));
        }
    }
    let index = found?.0;
    instances.remove(index).map(|idle| idle.instance)
}

//! Permits for instances, shared fairly among applications, and the requests that wait for one. How instances are
//! allocated is Wasmtime's part; idle instances are in [`idle`](crate::engine::idle).
//!
//! Everything is generic over the pooled instance, so that an instance can hold its permit while the pool hands
//! instances over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use crate::budget::{Budget, CacheLine};
use crate::engine::instance_quota::InstanceQuota;
use crate::engine::wait::{LEAST_QUEUE, WAIT};
use crate::engine::wait_queues::{HasQuota, WaitQueues, Waiter};

/// An instance that holds a permit of the pool. In tests, the permit alone.
pub(crate) trait Pooled: Sized {
    /// The share that it counts against.
    fn share(&self) -> &Arc<InstanceShare<Self>>;
}

/// The instances of all applications, and the requests that wait for one.
///
/// Each application has a queue of its own, so that one over its threshold does not block others. What comes
/// free goes to the application that holds least, relative to its weight.
pub(crate) struct InstancePool<I> {
    budget: Arc<Budget>,
    queues: Mutex<PoolQueues<I>>,
    /// [`wait_idle`](Self::wait_idle) has been called.
    draining: AtomicBool,
    drained: Notify,
    /// Requests in all queues. Read by each request, and written only by those that wait.
    waiting: CacheLine<AtomicUsize>,
    /// Slots of all instances beyond one each.
    extra: CacheLine<AtomicU64>,
}

type PoolQueues<I> = WaitQueues<InstanceShare<I>, Grant<I>>;

/// A request with the application that it waits for.
type NextRequest<I> = (Arc<InstanceShare<I>>, Waiter<Grant<I>>);

/// What one application holds of the instances.
pub(crate) struct InstanceShare<I> {
    pool: Arc<InstancePool<I>>,
    quota: InstanceQuota,
}

/// The permit for one instance. Dropping it gives its slots back, and grants them to a waiting request.
pub(crate) struct InstancePermit<I>(Arc<InstanceShare<I>>);

/// What a request gets.
pub(crate) enum Grant<I> {
    /// A permit to make an instance.
    Permit(InstancePermit<I>),
    /// An instance that another request of its application has left.
    Instance(I),
}

impl<I> HasQuota for InstanceShare<I> {
    fn quota(&self) -> &InstanceQuota {
        &self.quota
    }
}

impl<I> InstancePool<I> {
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            queues: Mutex::default(),
            draining: AtomicBool::new(false),
            drained: Notify::new(),
            waiting: CacheLine::default(),
            extra: CacheLine::default(),
        })
    }

    /// How many instances there may be.
    pub(crate) fn total(&self) -> u32 {
        u32::try_from(self.budget.limit()).unwrap_or(u32::MAX)
    }

    /// How many instances there are.
    pub(crate) fn taken(&self) -> u32 {
        let extra = self.extra.load(Ordering::Relaxed);
        let taken = self.budget.used().saturating_sub(extra);
        u32::try_from(taken).unwrap_or(u32::MAX)
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Whether any request waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Whether a request of this application waits.
    pub(crate) fn is_awaited_by(&self, application: &Arc<InstanceShare<I>>) -> bool {
        self.is_awaited() && self.lock().position(application).is_some()
    }

    /// See [`WaitQueues::wanting`].
    pub(crate) fn wanted_by(
        &self,
        idle: impl Fn(&InstanceShare<I>) -> u64,
    ) -> Option<Arc<InstanceShare<I>>> {
        self.lock().wanting(idle).cloned()
    }

    /// Waits until there is no instance, including those that are made meanwhile.
    pub(crate) async fn wait_idle(&self) {
        self.draining.store(true, Ordering::SeqCst);
        loop {
            let drained = self.drained.notified();
            // The last permit has either been given back before this, or its drop sees `draining`.
            fence(Ordering::SeqCst);
            if self.budget.used() == 0 {
                return;
            }
            drained.await;
        }
    }

    /// Grants free slots to waiting requests whose applications may have them.
    fn grant(&self) {
        while let Some((application, waiter)) = self.next() {
            let grant = Grant::Permit(InstancePermit(application));
            if let Err(grant) = waiter.granted.send(grant) {
                // The request gave up at this moment. The drop of the permit grants it to the next.
                drop(grant);
            }
        }
    }

    /// The next request that gets an instance. Its slots are taken already.
    fn next(&self) -> Option<NextRequest<I>> {
        let mut queues = self.lock();
        loop {
            let index = queues.pick(None)?;
            let application = Arc::clone(queues.application(index));
            if !application.try_take() {
                // A request that did not have to wait was faster. There may be room for others.
                continue;
            }
            match self.pop(&mut queues, index) {
                Some(waiter) => return Some((application, waiter)),
                // Unreachable, since queues without requests are removed.
                None => {
                    application.give_back();
                }
            }
        }
    }

    fn pop(&self, queues: &mut PoolQueues<I>, index: usize) -> Option<Waiter<Grant<I>>> {
        let waiter = queues.pop(index);
        if waiter.is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        waiter
    }

    fn lock(&self) -> MutexGuard<'_, PoolQueues<I>> {
        let queues = self.queues.lock();
        // Orders what is read under the lock after what requests have announced before they took it: see `enqueue`.
        fence(Ordering::SeqCst);
        queues
    }
}

impl<I: Pooled> InstancePool<I> {
    /// Hands an instance that has served a request over to a waiting one of its application. `Err` if none
    /// waits. `Ok` also if other applications have their turn: the instance is destroyed then, and they get its
    /// slots.
    pub(crate) fn hand_over(&self, instance: I) -> Result<(), I> {
        if !self.is_awaited() {
            return Err(instance);
        }
        let mut instance = instance;
        loop {
            let mut queues = self.lock();
            let application = instance.share();
            let Some(own) = queues.position(application) else {
                return Err(instance);
            };
            let waiter = match queues.pick(Some(application)) {
                Some(index) if index == own => self.pop(&mut queues, index),
                _ => None,
            };
            drop(queues);
            let Some(waiter) = waiter else {
                return Ok(());
            };
            match waiter.granted.send(Grant::Instance(instance)) {
                Err(Grant::Instance(refused)) => instance = refused,
                Ok(()) | Err(Grant::Permit(_)) => return Ok(()),
            }
        }
    }
}

impl<I> InstanceShare<I> {
    /// A share for an application of this weight, each instance of which counts for `slots`.
    pub(crate) fn new(pool: Arc<InstancePool<I>>, weight: u64, slots: u64) -> Arc<Self> {
        let quota = InstanceQuota::new(&pool.budget, weight, slots);
        Arc::new(Self { pool, quota })
    }

    /// See [`InstanceQuota::has_room`].
    pub(crate) fn has_room(&self, idle: u64) -> bool {
        self.quota.has_room(idle)
    }

    /// See [`InstanceQuota::slots`].
    pub(crate) fn slots(&self) -> u64 {
        self.quota.slots()
    }

    /// See [`InstanceQuota::has_more_than`].
    pub(crate) fn has_more_than(&self, other: &Self) -> bool {
        self.quota.has_more_than(&other.quota)
    }

    /// A permit for one more instance, as soon as the application may have one, or an instance that another of its
    /// requests has left. `None` when that takes longer than [`WAIT`] or `limit`, or the queue is full: it holds as
    /// many requests as there may be instances, and at least [`LEAST_QUEUE`].
    ///
    /// `find` is called when the request begins to wait: it may make room, or find an idle instance. `keep` gets an
    /// instance that was handed over to this request when it had just given up.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        limit: Duration,
        find: impl FnOnce() -> Option<I>,
        keep: impl Fn(I),
    ) -> Option<Grant<I>> {
        // Requests that wait already go first, of whatever application.
        if !self.pool.is_awaited()
            && let Some(permit) = self.try_acquire()
        {
            return Some(Grant::Permit(permit));
        }
        // Boxed, so that the future of a request that does not wait stays small.
        Box::pin(self.wait(limit, find, keep)).await
    }

    async fn wait(
        self: &Arc<Self>,
        limit: Duration,
        find: impl FnOnce() -> Option<I>,
        keep: impl Fn(I),
    ) -> Option<Grant<I>> {
        let (granted, place) = self.enqueue()?;
        let mut granted = GrantReceiver { granted, keep };
        // Dropped before `granted`: nothing can be granted once the request has left the queue.
        let _place = place;
        self.pool.grant();
        if let Ok(grant) = granted.granted.try_recv() {
            return Some(grant);
        }
        if let Some(instance) = find() {
            return Some(Grant::Instance(instance));
        }
        tokio::time::timeout(WAIT.min(limit), &mut granted.granted)
            .await
            .ok()?
            .ok()
    }

    fn try_acquire(self: &Arc<Self>) -> Option<InstancePermit<I>> {
        self.try_take().then(|| InstancePermit(Arc::clone(self)))
    }

    fn try_take(&self) -> bool {
        let taken = self.quota.try_take();
        let slots = self.slots();
        if taken && slots > 1 {
            self.pool.extra.fetch_add(slots - 1, Ordering::Relaxed);
        }
        taken
    }

    /// Returns what all applications still hold.
    fn give_back(&self) -> u64 {
        let slots = self.slots();
        if slots > 1 {
            self.pool.extra.fetch_sub(slots - 1, Ordering::Relaxed);
        }
        self.quota.give_back()
    }

    /// Adds a request to its application's queue; `None` if that is full.
    fn enqueue(self: &Arc<Self>) -> Option<(oneshot::Receiver<Grant<I>>, WaitPlace<'_, I>)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);

        let pool = &*self.pool;
        // Announced before the request looks for an instance: one that ends after this sees the request, and the
        // request sees one that has ended before.
        pool.waiting.fetch_add(1, Ordering::SeqCst);
        let mut queues = pool.lock();
        if queues.len(self) >= (pool.total() as usize).max(LEAST_QUEUE) {
            pool.waiting.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        let (granted, was_granted) = oneshot::channel();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        queues.push(self, Waiter { number, granted });
        let place = WaitPlace {
            application: self,
            number,
        };
        Some((was_granted, place))
    }
}

/// Where the grant of a waiting request arrives.
struct GrantReceiver<I, K: Fn(I)> {
    granted: oneshot::Receiver<Grant<I>>,
    keep: K,
}

impl<I, K: Fn(I)> Drop for GrantReceiver<I, K> {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(Grant::Instance(instance)) = self.granted.try_recv() {
            (self.keep)(instance);
        }
    }
}

/// The place of a request in a queue. Dropping it removes the request from the queue.
struct WaitPlace<'a, I> {
    application: &'a Arc<InstanceShare<I>>,
    number: u64,
}

impl<I> Drop for WaitPlace<'_, I> {
    fn drop(&mut self) {
        let pool = &*self.application.pool;
        if !pool.lock().remove(self.application, self.number) {
            return;
        }
        pool.waiting.fetch_sub(1, Ordering::SeqCst);
        // Slots may have been held back for this request.
        if pool.is_awaited() {
            pool.grant();
        }
    }
}

impl<I> InstancePermit<I> {
    /// The share that it counts against.
    pub(crate) fn share(&self) -> &Arc<InstanceShare<I>> {
        &self.0
    }
}

impl<I> Drop for InstancePermit<I> {
    fn drop(&mut self) {
        let pool = &*self.0.pool;
        // Under the lock while requests wait. What an application holds and what all hold are two numbers; between
        // the two changes an idle instance might seem to be in the way of a request, and be destroyed for nothing.
        let queues = pool.is_awaited().then(|| pool.lock());
        let left = self.0.give_back();
        drop(queues);
        if pool.is_awaited() {
            pool.grant();
        }
        if left == 0 && pool.draining.load(Ordering::SeqCst) {
            pool.drained.notify_waiters();
        }
    }
}

#[cfg(test)]
pub(super) mod test_pool {
    //! A pool whose instances are nothing but their permits.

    use super::*;

    pub(in crate::engine) struct TestInstance(InstancePermit<TestInstance>);

    pub(in crate::engine) type TestShare = InstanceShare<TestInstance>;

    impl Pooled for TestInstance {
        fn share(&self) -> &Arc<InstanceShare<Self>> {
            self.0.share()
        }
    }

    pub(in crate::engine) const LONG: Duration = Duration::from_secs(30);

    pub(in crate::engine) fn pool(instances: u64) -> Arc<InstancePool<TestInstance>> {
        InstancePool::new(Budget::fair(instances))
    }

    pub(in crate::engine) fn share(
        pool: &Arc<InstancePool<TestInstance>>,
        weight: u64,
        slots: u64,
    ) -> Arc<TestShare> {
        InstanceShare::new(Arc::clone(pool), weight, slots)
    }

    pub(in crate::engine) fn used(application: &TestShare) -> u64 {
        application.quota.used()
    }

    pub(in crate::engine) fn try_acquire(application: &Arc<TestShare>) -> Option<TestInstance> {
        application.try_acquire().map(TestInstance)
    }

    pub(in crate::engine) fn fill(application: &Arc<TestShare>) -> Vec<TestInstance> {
        std::iter::from_fn(|| try_acquire(application)).collect()
    }

    pub(in crate::engine) async fn acquire(application: &Arc<TestShare>) -> Option<TestInstance> {
        match application.acquire(LONG, || None, drop).await? {
            Grant::Permit(permit) => Some(TestInstance(permit)),
            Grant::Instance(instance) => Some(instance),
        }
    }

    /// Starts to wait, and is in the queue when this returns.
    pub(in crate::engine) async fn waits(
        application: &Arc<TestShare>,
    ) -> tokio::task::JoinHandle<Option<TestInstance>> {
        let before = application.pool.waiting.load(Ordering::SeqCst);
        let waiting = tokio::spawn({
            let application = Arc::clone(application);
            async move { acquire(&application).await }
        });
        while application.pool.waiting.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        waiting
    }

    pub(in crate::engine) fn has_no_queues(pool: &InstancePool<TestInstance>) -> bool {
        pool.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::test_pool::*;
    use super::*;

    #[tokio::test]
    async fn a_request_below_its_threshold_does_not_queue_after_those_of_a_greedy_application() {
        let pool = pool(16);
        let greedy = share(&pool, 1, 1);
        let others: Vec<_> = (0..4).map(|_| share(&pool, 1, 1)).collect();
        let mut held = fill(&greedy);
        assert_eq!(held.len(), 12);
        let _others: Vec<_> = others.iter().map(fill).collect();
        assert_eq!(pool.taken(), 16);
        for _ in 0..16 {
            drop(waits(&greedy).await);
        }
        let newcomer = share(&pool, 1, 1);
        let waiting = waits(&newcomer).await;
        held.pop();
        assert!(waiting.await.unwrap().is_some());
        assert_eq!(used(&greedy), 11);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_queue_of_an_application_is_bounded_and_times_out_after_a_second() {
        let pool = pool(2);
        let one = share(&pool, 1, 1);
        let other = share(&pool, 1, 1);
        let _held = fill(&one);
        let mut waiting = Vec::new();
        for _ in 0..LEAST_QUEUE {
            waiting.push(waits(&one).await);
        }
        assert!(acquire(&one).await.is_none());
        let start = tokio::time::Instant::now();
        assert!(acquire(&other).await.is_none());
        assert!(start.elapsed() >= WAIT);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_none());
        }
        assert!(!pool.is_awaited());
        assert!(has_no_queues(&pool));
    }

    #[tokio::test]
    async fn requests_that_are_cancelled_while_they_wait_take_nothing() {
        let pool = pool(1);
        let one = share(&pool, 1, 1);
        let other = share(&pool, 1, 1);
        let held = acquire(&one).await;
        let gone = waits(&other).await;
        gone.abort();
        assert!(gone.await.is_err());
        let waiting = waits(&one).await;
        drop(held);
        drop(waiting.await.unwrap());
        pool.wait_idle().await;
        assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn the_limit_of_instances_holds_across_threads_and_no_request_is_forgotten() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let pool = pool(8);
            let applications: Vec<_> = (0..4).map(|weight| share(&pool, weight + 1, 1)).collect();
            let all: Vec<_> = (0..64)
                .map(|number| {
                    let application = Arc::clone(&applications[number % 4]);
                    tokio::spawn(async move {
                        for _ in 0..200 {
                            let permit = acquire(&application).await.unwrap();
                            assert!(application.pool.taken() <= 8);
                            tokio::task::yield_now().await;
                            drop(permit);
                        }
                    })
                })
                .collect();
            for one in all {
                one.await.unwrap();
            }
            pool.wait_idle().await;
            assert!(!pool.is_awaited());
        });
    }
}

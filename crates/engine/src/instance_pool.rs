//! The right to have one more instance, shared fairly among applications. How instances are allocated
//! is Wasmtime's business.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::gate::{LEAST_QUEUE, WAIT};
use crate::share::{Budget, Share};

/// Instances of all applications, and the requests that wait for one.
///
/// Each application has a queue of its own, so that those of one that is over its threshold hold up no
/// other. What comes free goes to the application that has least for its weight.
pub(crate) struct InstancePool {
    budget: Arc<Budget>,
    queues: Mutex<Vec<Queue>>,
    /// What instances count for beyond one each.
    extra: AtomicU64,
    /// Requests in all queues.
    waiting: AtomicUsize,
    /// Somebody waits until there is no instance.
    draining: AtomicBool,
    empty: Notify,
}

/// What one application has of the instances.
pub(crate) struct InstanceShare {
    pool: Arc<InstancePool>,
    share: Share,
    /// What one of its instances counts for.
    slots: u64,
}

/// The right to one instance.
pub(crate) struct InstancePermit(Arc<InstanceShare>);

/// The requests of one application that wait.
struct Queue {
    application: Arc<InstanceShare>,
    requests: VecDeque<Waiter>,
}

struct Waiter {
    number: u64,
    turn: oneshot::Sender<InstancePermit>,
}

impl InstancePool {
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            queues: Mutex::default(),
            extra: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            empty: Notify::new(),
        })
    }

    /// How many instances there may be.
    pub(crate) fn total(&self) -> u32 {
        u32::try_from(self.budget.limit()).unwrap_or(u32::MAX)
    }

    /// How many there are.
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

    /// Waits until there is no instance. Those that are made meanwhile are waited for, too.
    pub(crate) async fn wait_empty(&self) {
        self.draining.store(true, Ordering::SeqCst);
        loop {
            let empty = self.empty.notified();
            if self.budget.used() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Gives what is free to requests that wait, as far as their applications may have it.
    fn grant(&self) {
        while let Some((application, waiter)) = self.next() {
            let permit = InstancePermit(application);
            if let Err(permit) = waiter.turn.send(permit) {
                // Its request has gone this moment. The permit's own end grants it again.
                drop(permit);
            }
        }
    }

    /// The next request that gets an instance, which is taken for it.
    fn next(&self) -> Option<(Arc<InstanceShare>, Waiter)> {
        let mut queues = self.lock();
        let mut least: Option<(usize, u64, u64)> = None;
        for (index, queue) in queues.iter().enumerate() {
            let share = &queue.application.share;
            let (used, weight) = (share.used(), share.weight());
            let is_less = least.is_none_or(|(_, least_used, least_weight)| {
                used.saturating_mul(least_weight) < least_used.saturating_mul(weight)
            });
            if is_less && queue.application.has_room() {
                least = Some((index, used, weight));
            }
        }
        let (index, ..) = least?;
        if !queues[index].application.try_take() {
            return None;
        }
        // Behind the others that have as much.
        let mut queue = queues.remove(index);
        let waiter = queue.requests.pop_front();
        let application = Arc::clone(&queue.application);
        if !queue.requests.is_empty() {
            queues.push(queue);
        }
        let Some(waiter) = waiter else {
            // Queues without requests are removed, so that there is none.
            application.give_back();
            return None;
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        Some((application, waiter))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Queue>> {
        // Nothing is left half done under this lock.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InstanceShare {
    pub(crate) fn new(pool: Arc<InstancePool>, weight: u64, slots: u64) -> Arc<Self> {
        let share = Share::new(Arc::clone(pool.budget()), weight);
        // One must fit, at least by itself.
        let slots = slots.min(pool.budget().most(weight));
        Arc::new(Self { pool, share, slots })
    }

    /// Whether the application may have one more instance now.
    pub(crate) fn has_room(&self) -> bool {
        self.share.has_room(self.slots)
    }

    /// The right to one more instance, as soon as the application may have one. `None` when that takes
    /// longer than [`WAIT`] or `limit`, or as many of its requests wait already as there may be instances,
    /// and at least [`LEAST_QUEUE`]. `make_room` is called when the request waits.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        limit: Duration,
        make_room: impl FnOnce(),
    ) -> Option<InstancePermit> {
        // Requests that wait come first, those of the same application above all.
        if !self.pool.is_awaited()
            && let Some(permit) = self.try_acquire()
        {
            return Some(permit);
        }
        let (turn, waiting) = match self.enqueue()? {
            Turn::Now(permit) => return Some(permit),
            Turn::Later(turn, waiting) => (turn, waiting),
        };
        make_room();
        let permit = tokio::time::timeout(WAIT.min(limit), turn).await;
        drop(waiting);
        permit.ok()?.ok()
    }

    fn try_acquire(self: &Arc<Self>) -> Option<InstancePermit> {
        self.try_take().then(|| InstancePermit(Arc::clone(self)))
    }

    fn try_take(&self) -> bool {
        let taken = self.share.try_take(self.slots);
        if taken && self.slots > 1 {
            let extra = &self.pool.extra;
            extra.fetch_add(self.slots - 1, Ordering::Relaxed);
        }
        taken
    }

    /// Returns what all applications have left.
    fn give_back(&self) -> u64 {
        if self.slots > 1 {
            let extra = &self.pool.extra;
            extra.fetch_sub(self.slots - 1, Ordering::Relaxed);
        }
        self.share.give_back(self.slots)
    }

    fn enqueue(self: &Arc<Self>) -> Option<Turn<'_>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);

        let pool = &*self.pool;
        let mut queues = pool.lock();
        let queue = queues
            .iter_mut()
            .find(|queue| Arc::ptr_eq(&queue.application, self));
        // Announced before it is tried: an instance that ends after that sees the request, and one that
        // has ended before is seen here.
        pool.waiting.fetch_add(1, Ordering::SeqCst);
        let most = (pool.total() as usize).max(LEAST_QUEUE);
        let refused = match &queue {
            Some(queue) => queue.requests.len() >= most,
            None => {
                if let Some(permit) = self.try_acquire() {
                    pool.waiting.fetch_sub(1, Ordering::SeqCst);
                    return Some(Turn::Now(permit));
                }
                false
            }
        };
        if refused {
            pool.waiting.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        let (turn, comes) = oneshot::channel();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter { number, turn };
        match queue {
            Some(queue) => queue.requests.push_back(waiter),
            None => queues.push(Queue {
                application: Arc::clone(self),
                requests: VecDeque::from([waiter]),
            }),
        }
        let waiting = Waiting {
            application: self,
            number,
        };
        Some(Turn::Later(comes, waiting))
    }
}

enum Turn<'a> {
    Now(InstancePermit),
    Later(oneshot::Receiver<InstancePermit>, Waiting<'a>),
}

/// A request in a queue, which leaves it when this is dropped.
struct Waiting<'a> {
    application: &'a Arc<InstanceShare>,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let pool = &*self.application.pool;
        let mut queues = pool.lock();
        let index = queues
            .iter()
            .position(|queue| Arc::ptr_eq(&queue.application, self.application));
        let Some(index) = index else { return };
        let requests = &mut queues[index].requests;
        // It is gone if it has been granted.
        let Some(place) = requests.iter().position(|it| it.number == self.number) else {
            return;
        };
        requests.remove(place);
        if requests.is_empty() {
            queues.remove(index);
        }
        pool.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for InstancePermit {
    fn drop(&mut self) {
        let pool = &*self.0.pool;
        let left = self.0.give_back();
        if pool.is_awaited() {
            pool.grant();
        }
        if left == 0 && pool.draining.load(Ordering::SeqCst) {
            pool.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn pool(instances: u64) -> Arc<InstancePool> {
        InstancePool::new(Budget::fair(instances))
    }

    fn fill(application: &Arc<InstanceShare>) -> Vec<InstancePermit> {
        std::iter::from_fn(|| application.try_acquire()).collect()
    }

    /// Starts to wait, and is in the queue when this returns.
    async fn waits(
        application: &Arc<InstanceShare>,
    ) -> tokio::task::JoinHandle<Option<InstancePermit>> {
        let before = application.pool.waiting.load(Ordering::SeqCst);
        let waiting = tokio::spawn({
            let application = Arc::clone(application);
            async move { application.acquire(LONG, || {}).await }
        });
        while application.pool.waiting.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        waiting
    }

    #[tokio::test]
    async fn a_request_below_its_threshold_is_not_behind_those_of_a_greedy_application() {
        let pool = pool(16);
        let greedy = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let others: Vec<_> = (0..4)
            .map(|_| InstanceShare::new(Arc::clone(&pool), 1, 1))
            .collect();
        let mut held = fill(&greedy);
        assert_eq!(held.len(), 12);
        let _others: Vec<_> = others.iter().map(fill).collect();
        assert_eq!(pool.taken(), 16);
        for _ in 0..16 {
            drop(waits(&greedy).await);
        }
        let newcomer = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let waiting = waits(&newcomer).await;
        held.pop();
        assert!(waiting.await.unwrap().is_some());
        assert_eq!(greedy.share.used(), 11);
    }

    #[tokio::test]
    async fn a_queue_is_bounded_for_each_application_and_waits_for_a_second() {
        let pool = pool(2);
        let one = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let other = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let _held = fill(&one);
        let mut waiting = Vec::new();
        for _ in 0..LEAST_QUEUE {
            waiting.push(waits(&one).await);
        }
        assert!(one.acquire(LONG, || {}).await.is_none());
        let start = tokio::time::Instant::now();
        assert!(other.acquire(LONG, || {}).await.is_none());
        assert!(start.elapsed() >= WAIT);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_none());
        }
        assert!(!pool.is_awaited());
        assert!(pool.lock().is_empty());
    }

    #[tokio::test]
    async fn requests_that_go_while_they_wait_take_nothing() {
        let pool = pool(1);
        let one = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let other = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let held = one.acquire(LONG, || {}).await;
        let gone = waits(&other).await;
        gone.abort();
        assert!(gone.await.is_err());
        let waiting = waits(&one).await;
        drop(held);
        drop(waiting.await.unwrap());
        pool.wait_empty().await;
        assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn instances_of_many_threads_are_never_more_than_there_may_be_and_no_request_is_forgotten() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let pool = pool(8);
            let applications: Vec<_> = (0..4)
                .map(|weight| InstanceShare::new(Arc::clone(&pool), weight + 1, 1))
                .collect();
            let all: Vec<_> = (0..64)
                .map(|number| {
                    let application = Arc::clone(&applications[number % 4]);
                    tokio::spawn(async move {
                        for _ in 0..200 {
                            let permit = application.acquire(LONG, || {}).await.unwrap();
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
            pool.wait_empty().await;
            assert!(!pool.is_awaited());
        });
    }

    #[test]
    fn an_instance_of_many_modules_counts_for_several() {
        let pool = pool(16);
        let large = InstanceShare::new(Arc::clone(&pool), 1, 5);
        let held = fill(&large);
        assert_eq!((held.len(), pool.taken()), (2, 2));
        let small = InstanceShare::new(Arc::clone(&pool), 1, 1);
        assert_eq!(fill(&small).len(), 5);
        drop(held);
        assert_eq!((pool.taken(), pool.budget().used()), (0, 0));
        // One that counts for more than there are is served by itself.
        assert_eq!(fill(&InstanceShare::new(pool, 1, 100)).len(), 1);
    }
}

//! The right to have one more instance, shared fairly among applications. How instances are allocated
//! is Wasmtime's business.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::budget::{Budget, CacheLine, Share};
use crate::engine::wait::{LEAST_QUEUE, WAIT};
use crate::sandbox::Instance;

/// Instances of all applications, and the requests that wait for one.
///
/// Each application has a queue of its own, so that those of one that is over its threshold hold up no
/// other. What comes free goes to the application that has least for its weight.
pub(crate) struct InstancePool {
    budget: Arc<Budget>,
    queues: Mutex<Vec<Queue>>,
    /// Somebody waits until there is no instance.
    draining: AtomicBool,
    empty: Notify,
    /// Requests in all queues. Each request looks at it, and only those that wait write to it.
    waiting: CacheLine<AtomicUsize>,
    /// What instances count for beyond one each.
    extra: CacheLine<AtomicU64>,
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

/// What a request gets.
pub(crate) enum Grant {
    /// The right to make an instance.
    Permit(InstancePermit),
    /// One that another request of its application has left.
    Instance(Instance),
}

/// The requests of one application that wait.
struct Queue {
    application: Arc<InstanceShare>,
    requests: VecDeque<Waiter>,
}

struct Waiter {
    number: u64,
    turn: oneshot::Sender<Grant>,
}

/// What an application has, for its weight: a fraction.
#[derive(Clone, Copy)]
struct Part {
    used: u64,
    weight: u64,
}

impl Part {
    fn is_less_than(self, other: Self) -> bool {
        // Both are far from the edge of 128 bits.
        u128::from(self.used) * u128::from(other.weight)
            < u128::from(other.used) * u128::from(self.weight)
    }
}

impl InstancePool {
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            queues: Mutex::default(),
            draining: AtomicBool::new(false),
            empty: Notify::new(),
            waiting: CacheLine::default(),
            extra: CacheLine::default(),
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

    /// Whether a request of this application waits.
    pub(crate) fn is_awaited_by(&self, application: &Arc<InstanceShare>) -> bool {
        let is_own = |queue: &Queue| Arc::ptr_eq(&queue.application, application);
        self.is_awaited() && self.lock().iter().any(is_own)
    }

    /// The application of a request that waits and would get an instance, at once or when others have given
    /// some back, if the idle instances that may be destroyed for it were not there: `idle` tells what these
    /// count for. One whose application is over its threshold would not.
    pub(crate) fn wanted_by(
        &self,
        idle: impl Fn(&InstanceShare) -> u64,
    ) -> Option<Arc<InstanceShare>> {
        let queues = self.lock();
        let wants = |application: &Arc<InstanceShare>| {
            let idle = idle(application);
            if idle == 0 || application.has_room(0) {
                return false;
            }
            let held = held_back(&queues, application, None);
            application.has_room(idle.saturating_add(held))
        };
        let mut waiting = queues.iter().map(|queue| &queue.application);
        waiting.find(|application| wants(application)).cloned()
    }

    /// Waits until there is no instance. Those that are made meanwhile are waited for, too.
    pub(crate) async fn wait_empty(&self) {
        self.draining.store(true, Ordering::SeqCst);
        loop {
            let empty = self.empty.notified();
            // The last permit has either been given back before this, or sees that it is waited for.
            fence(Ordering::SeqCst);
            if self.budget.used() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Gives what is free to requests that wait, as far as their applications may have it.
    fn grant(&self) {
        while let Some((application, waiter)) = self.next() {
            let grant = Grant::Permit(InstancePermit(application));
            if let Err(grant) = waiter.turn.send(grant) {
                // Its request has gone this moment. The permit's own end grants it again.
                drop(grant);
            }
        }
    }

    /// The next request that gets an instance, which is taken for it.
    fn next(&self) -> Option<(Arc<InstanceShare>, Waiter)> {
        let mut queues = self.lock();
        loop {
            let index = pick(&queues, None)?;
            let application = Arc::clone(&queues[index].application);
            if !application.try_take() {
                // A request that did not have to wait was faster. There may be room for others.
                continue;
            }
            match self.pop(&mut queues, index) {
                Some(waiter) => return Some((application, waiter)),
                // Queues without requests are removed, so that there is none.
                None => {
                    application.give_back();
                }
            }
        }
    }

    /// Gives an instance that has served a request to another one of its application that waits. `Err` if
    /// none does, and `Ok` also where it is the turn of others, who get its place.
    pub(crate) fn hand_over(&self, instance: Instance) -> Result<(), Instance> {
        if !self.is_awaited() {
            return Err(instance);
        }
        let mut instance = instance;
        loop {
            let mut queues = self.lock();
            let application = instance.share();
            let is_own = |queue: &Queue| Arc::ptr_eq(&queue.application, application);
            let Some(own) = queues.iter().position(is_own) else {
                return Err(instance);
            };
            let waiter = match pick(&queues, Some(application)) {
                Some(index) if index == own => self.pop(&mut queues, index),
                _ => None,
            };
            drop(queues);
            let Some(waiter) = waiter else {
                // Its permit's end is the turn of others.
                return Ok(());
            };
            match waiter.turn.send(Grant::Instance(instance)) {
                Err(Grant::Instance(refused)) => instance = refused,
                Ok(()) | Err(Grant::Permit(_)) => return Ok(()),
            }
        }
    }

    /// Takes the first request out of a queue, which is then the last one of those that have as much.
    fn pop(&self, queues: &mut Vec<Queue>, index: usize) -> Option<Waiter> {
        let mut queue = queues.remove(index);
        let waiter = queue.requests.pop_front();
        if !queue.requests.is_empty() {
            queues.push(queue);
        }
        if waiter.is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        waiter
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Queue>> {
        // Nothing is left half done under this lock.
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // What requests have announced before they took the lock comes before what is looked at under it:
        // see `enqueue`.
        fence(Ordering::SeqCst);
        queues
    }
}

/// The queue whose turn it is: of those that have room, that of the application that has least. If `giver`
/// is an application, it is one that has given one instance back.
///
/// It is the turn of none while an application with less waits for several slots to come free: each would
/// otherwise go to those that need only one.
fn pick(queues: &[Queue], giver: Option<&Arc<InstanceShare>>) -> Option<usize> {
    let mut next: Option<(usize, Part)> = None;
    let mut short = Vec::new();
    for (index, queue) in queues.iter().enumerate() {
        let application = &queue.application;
        let (own, others) = application.given_by(giver);
        let part = application.part(own);
        if !(application.share).has_room_after(application.slots, own, others) {
            short.push(application);
        } else if next.is_none_or(|(_, least)| part.is_less_than(least)) {
            next = Some((index, part));
        }
    }
    let (index, part) = next?;
    let waits_for_more = |application: &&Arc<InstanceShare>| {
        let (own, others) = application.given_by(giver);
        if part.is_less_than(application.with_one_more(own)) {
            return false;
        }
        let held = held_back(queues, application, giver);
        let others = others.saturating_add(held);
        (application.share).has_room_after(application.slots, own, others)
    };
    (!short.iter().any(waits_for_more)).then_some(index)
}

/// The slots of those that wait and have more than this application had with one more instance.
fn held_back(
    queues: &[Queue],
    application: &Arc<InstanceShare>,
    giver: Option<&Arc<InstanceShare>>,
) -> u64 {
    let (own, _) = application.given_by(giver);
    let wanted = application.with_one_more(own);
    let more = |queue: &Queue| {
        let (own, _) = queue.application.given_by(giver);
        let part = queue.application.part(own);
        let bound = u128::from(wanted.used) * u128::from(part.weight) / u128::from(wanted.weight);
        part.used
            .saturating_sub(u64::try_from(bound).unwrap_or(u64::MAX))
    };
    let others = (queues.iter()).filter(|queue| !Arc::ptr_eq(&queue.application, application));
    others.map(more).fold(0, u64::saturating_add)
}

impl InstanceShare {
    pub(crate) fn new(pool: Arc<InstancePool>, weight: u64, slots: u64) -> Arc<Self> {
        let share = Share::new(Arc::clone(pool.budget()), weight);
        let budget = pool.budget();
        let most = budget.most(weight);
        let slots = if slots <= most {
            slots
        } else {
            // One must fit, by itself, and no two of them, for which the pool of memories has no room.
            most.max(budget.limit() / 2 + 1).min(budget.limit())
        };
        Arc::new(Self { pool, share, slots })
    }

    /// Whether the application might have one more instance now, if those that count for `idle` were not
    /// there.
    pub(crate) fn has_room(&self, idle: u64) -> bool {
        self.share.has_room_after(self.slots, 0, idle)
    }

    /// What one of its instances counts for.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    /// Whether it has more than another application, each for its weight.
    pub(crate) fn has_more_than(&self, other: &Self) -> bool {
        other.part(0).is_less_than(self.part(0))
    }

    /// What it has, but for `given`.
    fn part(&self, given: u64) -> Part {
        Part {
            used: self.share.used().saturating_sub(given),
            weight: self.share.weight().max(1),
        }
    }

    /// What it would have then, with one more instance.
    fn with_one_more(&self, given: u64) -> Part {
        let mut part = self.part(given);
        part.used = part.used.saturating_add(self.slots);
        part
    }

    /// What it has given back itself, and others, if `giver` has given one instance back.
    fn given_by(self: &Arc<Self>, giver: Option<&Arc<Self>>) -> (u64, u64) {
        match giver {
            None => (0, 0),
            Some(giver) if Arc::ptr_eq(giver, self) => (giver.slots, 0),
            Some(giver) => (0, giver.slots),
        }
    }

    /// The right to one more instance, as soon as the application may have one, or one that another of its
    /// requests has left. `None` when that takes longer than [`WAIT`] or `limit`, or as many of its requests
    /// wait already as there may be instances, and at least [`LEAST_QUEUE`].
    ///
    /// `find` is called when the request begins to wait: it may make room, or find an instance. `keep` is
    /// given an instance that has been left to a request which does not take it any more.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        limit: Duration,
        find: impl FnOnce() -> Option<Instance>,
        keep: impl Fn(Instance),
    ) -> Option<Grant> {
        // Requests that wait come first, those of the same application above all.
        if !self.pool.is_awaited()
            && let Some(permit) = self.try_acquire()
        {
            return Some(Grant::Permit(permit));
        }
        // Not part of the future of each request.
        Box::pin(self.wait(limit, find, keep)).await
    }

    async fn wait(
        self: &Arc<Self>,
        limit: Duration,
        find: impl FnOnce() -> Option<Instance>,
        keep: impl Fn(Instance),
    ) -> Option<Grant> {
        let (comes, waiting) = self.enqueue()?;
        let mut turn = Turn { comes, keep };
        // Dropped before the turn, so that nothing comes after that is gone.
        let _waiting = waiting;
        self.pool.grant();
        if let Ok(grant) = turn.comes.try_recv() {
            return Some(grant);
        }
        if let Some(instance) = find() {
            return Some(Grant::Instance(instance));
        }
        tokio::time::timeout(WAIT.min(limit), &mut turn.comes)
            .await
            .ok()?
            .ok()
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

    /// Adds a request to its application's queue.
    fn enqueue(self: &Arc<Self>) -> Option<(oneshot::Receiver<Grant>, Waiting<'_>)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);

        let pool = &*self.pool;
        // Announced before it is tried: an instance that ends after that sees the request, and one that
        // has ended before is seen here.
        pool.waiting.fetch_add(1, Ordering::SeqCst);
        let mut queues = pool.lock();
        let own = |queue: &&mut Queue| Arc::ptr_eq(&queue.application, self);
        let queue = queues.iter_mut().find(own);
        let most = (pool.total() as usize).max(LEAST_QUEUE);
        if queue
            .as_ref()
            .is_some_and(|queue| queue.requests.len() >= most)
        {
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
        Some((comes, waiting))
    }
}

/// What comes when it is a request's turn.
struct Turn<K: Fn(Instance)> {
    comes: oneshot::Receiver<Grant>,
    keep: K,
}

impl<K: Fn(Instance)> Drop for Turn<K> {
    fn drop(&mut self) {
        self.comes.close();
        if let Ok(Grant::Instance(instance)) = self.comes.try_recv() {
            (self.keep)(instance);
        }
    }
}

/// A request in a queue, which leaves it when this is dropped.
struct Waiting<'a> {
    application: &'a Arc<InstanceShare>,
    number: u64,
}

impl Waiting<'_> {
    /// `false` if it has been granted.
    fn leave(&self) -> bool {
        let pool = &*self.application.pool;
        let mut queues = pool.lock();
        let index = queues
            .iter()
            .position(|queue| Arc::ptr_eq(&queue.application, self.application));
        let Some(index) = index else { return false };
        let requests = &mut queues[index].requests;
        let Some(place) = requests.iter().position(|it| it.number == self.number) else {
            return false;
        };
        requests.remove(place);
        if requests.is_empty() {
            queues.remove(index);
        }
        pool.waiting.fetch_sub(1, Ordering::SeqCst);
        true
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let pool = &*self.application.pool;
        // Others may have been held back for it.
        if self.leave() && pool.is_awaited() {
            pool.grant();
        }
    }
}

impl InstancePermit {
    /// What its instance counts against.
    pub(crate) fn share(&self) -> &Arc<InstanceShare> {
        &self.0
    }
}

impl Drop for InstancePermit {
    fn drop(&mut self) {
        let pool = &*self.0.pool;
        // Under the lock if others look at what each has: it is two numbers, and between the changes of both
        // a request might seem to get an instance if an idle one made room.
        let queues = pool.is_awaited().then(|| pool.lock());
        let left = self.0.give_back();
        drop(queues);
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
    use crate::engine::idle::{HasShare, Idle};

    impl HasShare for InstancePermit {
        fn share(&self) -> &Arc<InstanceShare> {
            self.share()
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    fn pool(instances: u64) -> Arc<InstancePool> {
        InstancePool::new(Budget::fair(instances))
    }

    fn fill(application: &Arc<InstanceShare>) -> Vec<InstancePermit> {
        std::iter::from_fn(|| application.try_acquire()).collect()
    }

    async fn acquire(application: &Arc<InstanceShare>) -> Option<InstancePermit> {
        match application.acquire(LONG, || None, drop).await? {
            Grant::Permit(permit) => Some(permit),
            Grant::Instance(_) => panic!("there are no instances"),
        }
    }

    /// Starts to wait, and is in the queue when this returns.
    async fn waits(
        application: &Arc<InstanceShare>,
    ) -> tokio::task::JoinHandle<Option<InstancePermit>> {
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
        assert!(acquire(&one).await.is_none());
        let start = tokio::time::Instant::now();
        assert!(acquire(&other).await.is_none());
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
        let held = acquire(&one).await;
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

    /// Applications that hold all but a few instances and want more than they may have: each has one of its
    /// permits given back in turn, until `waiting` is over. Returns how many that took.
    async fn give_back_until<T>(
        held: &mut [Vec<InstancePermit>],
        waiting: &tokio::task::JoinHandle<T>,
    ) -> usize {
        for number in 0..48 {
            // Whoever has been granted something gets to say so.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if waiting.is_finished() {
                return number;
            }
            let index = number % held.len();
            held[index].pop();
        }
        panic!("it has waited in vain");
    }

    #[tokio::test]
    async fn an_application_of_many_slots_gets_them_while_another_floods() {
        let pool = pool(48);
        let greedy = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let mut held = [fill(&greedy)];
        assert_eq!(held[0].len(), 36);
        let mut flood = Vec::new();
        for _ in 0..40 {
            flood.push(waits(&greedy).await);
        }
        let large = InstanceShare::new(Arc::clone(&pool), 1, 16);
        let waiting = waits(&large).await;
        let given = give_back_until(&mut held, &waiting).await;
        // With 16 more, and what is free beside.
        assert_eq!(given, 9);
        assert!(flood.iter().all(|it| !it.is_finished()));
        let permit = waiting.await.unwrap();
        assert_eq!((large.share.used(), greedy.share.used()), (16, 27));
        // What it has is not kept for it any longer.
        drop(permit);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(greedy.share.used(), 36);
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_request_that_gives_up_gives_others_what_was_kept_for_it() {
        let pool = pool(48);
        let greedy = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let mut held = fill(&greedy);
        let flood = waits(&greedy).await;
        let large = InstanceShare::new(Arc::clone(&pool), 1, 16);
        let waiting = waits(&large).await;
        held.pop();
        tokio::task::yield_now().await;
        assert!(!flood.is_finished());
        waiting.abort();
        assert!(waiting.await.is_err());
        assert!(flood.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn an_application_that_would_have_more_than_others_then_holds_up_none() {
        let pool = pool(48);
        let applications: Vec<_> = (0..3)
            .map(|_| InstanceShare::new(Arc::clone(&pool), 1, 1))
            .collect();
        let mut held: Vec<Vec<_>> = Vec::new();
        for application in &applications {
            held.push((0..12).map_while(|_| application.try_acquire()).collect());
        }
        let large = InstanceShare::new(Arc::clone(&pool), 1, 40);
        let waiting = waits(&large).await;
        // There is room for more of them, but not for the other one, even if they had less.
        for application in &applications {
            held.push(acquire(application).await.into_iter().collect());
        }
        assert!(held.iter().all(|permits| !permits.is_empty()));
        assert!(!waiting.is_finished());
    }

    #[tokio::test]
    async fn idle_instances_make_room_for_a_request_that_needs_several_slots() {
        let pool = pool(16);
        let idle = Idle::<InstancePermit>::default();
        let others: Vec<_> = (0..4)
            .map(|_| InstanceShare::new(Arc::clone(&pool), 1, 1))
            .collect();
        for application in &others {
            (0..3).for_each(|_| idle.put(application.try_acquire().unwrap()));
        }
        let small = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let _busy: Vec<_> = (0..3).map(|_| small.try_acquire().unwrap()).collect();
        let large = InstanceShare::new(Arc::clone(&pool), 1, 5);
        let waiting = waits(&large).await;
        idle.make_room(&pool);
        assert!(waiting.await.unwrap().is_some());
        // No more of them than it took, and in turn.
        let left: Vec<_> = others.iter().map(|it| it.share.used()).collect();
        assert!(left.iter().all(|left| (1..=2).contains(left)), "{left:?}");
        assert!(idle.slots() >= 6, "{left:?}");
    }

    #[tokio::test]
    async fn a_flood_destroys_no_idle_instance_of_others() {
        for (limit, others) in [(8, 1), (10, 1), (16, 4), (48, 8), (1000, 40)] {
            let pool = pool(limit);
            let idle = Idle::<InstancePermit>::default();
            let small = InstanceShare::new(Arc::clone(&pool), 1, 1);
            (0..others).for_each(|_| idle.put(small.try_acquire().unwrap()));
            let greedy = InstanceShare::new(Arc::clone(&pool), 1, 1);
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
            assert_eq!(
                (idle.slots(), small.share.used()),
                (others, others),
                "of {limit}"
            );
            flood.abort();
        }
    }

    #[tokio::test]
    async fn idle_instances_that_are_hardly_needed_make_room_for_any_application() {
        let pool = pool(16);
        let idle = Idle::<InstancePermit>::default();
        for _ in 0..15 {
            let other = InstanceShare::new(Arc::clone(&pool), 1, 1);
            idle.put(other.try_acquire().unwrap());
        }
        let busy = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let mut held = Vec::new();
        for count in [2, 12] {
            while held.len() < count {
                if let Some(permit) = busy.try_acquire() {
                    held.push(permit);
                    continue;
                }
                let waiting = waits(&busy).await;
                idle.make_room(&pool);
                held.push(waiting.await.unwrap().unwrap());
            }
            let waiting = waits(&busy).await;
            idle.make_room(&pool);
            assert_eq!(busy.share.used(), count as u64);
            waiting.abort();
            assert!(waiting.await.is_err());
            idle.make_old();
        }
    }

    #[test]
    fn no_two_instances_that_are_too_large_exist_at_the_same_time() {
        for limit in 1..=16 {
            let large = InstanceShare::new(pool(limit), 1, 64);
            assert_eq!(fill(&large).len(), 1, "of {limit}");
        }
    }

    #[tokio::test]
    async fn idle_instances_of_the_application_that_has_most_go_first() {
        let pool = pool(16);
        let idle = Idle::<InstancePermit>::default();
        let small = InstanceShare::new(Arc::clone(&pool), 1, 1);
        idle.put(small.try_acquire().unwrap());
        let greedy = InstanceShare::new(Arc::clone(&pool), 1, 1);
        fill(&greedy).into_iter().for_each(|it| idle.put(it));
        let other = InstanceShare::new(Arc::clone(&pool), 1, 1);
        let busy = fill(&other);
        assert!(!busy.is_empty());
        let waiting = waits(&other).await;
        idle.make_room(&pool);
        assert!(waiting.await.unwrap().is_some());
        assert_eq!(small.share.used(), 1);
    }
}

//! The queues of requests that wait for an instance, one per application, and whose turn it is: that of the
//! application which holds least, relative to its weight. Giving instances to requests is the pool's part.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::instance_quota::{InstanceQuota, WeightedUse};

/// An application, for its queue.
pub(super) trait HasQuota {
    fn quota(&self) -> &InstanceQuota;
}

/// The queues of the applications `A` whose requests wait for a `G`. None of them is empty.
pub(super) struct WaitQueues<A, G>(Vec<WaitQueue<A, G>>);

/// The waiting requests of one application, first in, first out.
struct WaitQueue<A, G> {
    application: Arc<A>,
    requests: VecDeque<Waiter<G>>,
}

/// A waiting request.
pub(super) struct Waiter<G> {
    pub(super) number: u64,
    pub(super) granted: oneshot::Sender<G>,
}

impl<A, G> Default for WaitQueues<A, G> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: HasQuota, G> WaitQueues<A, G> {
    /// The index of this application's queue, if it has one.
    pub(super) fn position(&self, application: &Arc<A>) -> Option<usize> {
        let is_own = |queue: &WaitQueue<A, G>| Arc::ptr_eq(&queue.application, application);
        self.0.iter().position(is_own)
    }

    pub(super) fn application(&self, index: usize) -> &Arc<A> {
        &self.0[index].application
    }

    /// How many requests of this application wait.
    pub(super) fn len(&self, application: &Arc<A>) -> usize {
        let queue = self.position(application).map(|index| &self.0[index]);
        queue.map_or(0, |queue| queue.requests.len())
    }

    pub(super) fn push(&mut self, application: &Arc<A>, waiter: Waiter<G>) {
        match self.position(application) {
            Some(index) => self.0[index].requests.push_back(waiter),
            None => self.0.push(WaitQueue {
                application: Arc::clone(application),
                requests: VecDeque::from([waiter]),
            }),
        }
    }

    /// Takes the first request out of a queue, which then moves behind those of applications that hold as much.
    pub(super) fn pop(&mut self, index: usize) -> Option<Waiter<G>> {
        let mut queue = self.0.remove(index);
        let waiter = queue.requests.pop_front();
        if !queue.requests.is_empty() {
            self.0.push(queue);
        }
        waiter
    }

    /// Removes a request that gives up. `false` if it is in the queue no longer.
    pub(super) fn remove(&mut self, application: &Arc<A>, number: u64) -> bool {
        let Some(index) = self.position(application) else {
            return false;
        };
        let requests = &mut self.0[index].requests;
        let Some(place) = requests.iter().position(|it| it.number == number) else {
            return false;
        };
        requests.remove(place);
        if requests.is_empty() {
            self.0.remove(index);
        }
        true
    }

    /// An application with waiting requests that would get an instance, at once or when others have given some
    /// back, if the idle instances that may be destroyed for it were gone: `idle` returns the slots of these.
    /// An application over its threshold would not.
    pub(super) fn wanting(&self, idle: impl Fn(&A) -> u64) -> Option<&Arc<A>> {
        let wants = |application: &Arc<A>| {
            let idle = idle(application);
            if idle == 0 || application.quota().has_room(0) {
                return false;
            }
            let held = self.held_back(application, None);
            application.quota().has_room(idle.saturating_add(held))
        };
        let mut waiting = self.0.iter().map(|queue| &queue.application);
        waiting.find(|application| wants(application))
    }

    /// The index of the queue whose turn it is: among the applications that have room, the one that holds least. If
    /// `giver` is an application, as if that had given one instance back.
    ///
    /// None has its turn while an application that holds less waits for several slots to come free: each single
    /// slot would otherwise go to those that need only one, and a large instance would never start.
    pub(super) fn pick(&self, giver: Option<&Arc<A>>) -> Option<usize> {
        let mut next: Option<(usize, WeightedUse)> = None;
        let mut short = Vec::new();
        for (index, queue) in self.0.iter().enumerate() {
            let application = &queue.application;
            let (own, others) = given_back(application, giver);
            let held = application.quota().held(own);
            if !application.quota().has_room_after(own, others) {
                short.push(application);
            } else if next.is_none_or(|(_, least)| held.is_less_than(least)) {
                next = Some((index, held));
            }
        }
        let (index, held) = next?;
        let waits_for_more = |application: &&Arc<A>| {
            let (own, others) = given_back(application, giver);
            if held.is_less_than(application.quota().held_with_one_more(own)) {
                return false;
            }
            let others = others.saturating_add(self.held_back(application, giver));
            application.quota().has_room_after(own, others)
        };
        (!short.iter().any(waits_for_more)).then_some(index)
    }

    /// The slots by which other waiting applications exceed what this one would hold with one more instance.
    fn held_back(&self, application: &Arc<A>, giver: Option<&Arc<A>>) -> u64 {
        let (own, _) = given_back(application, giver);
        let wanted = application.quota().held_with_one_more(own);
        let excess = |queue: &WaitQueue<A, G>| {
            let (own, _) = given_back(&queue.application, giver);
            let held = queue.application.quota().held(own);
            let bound =
                u128::from(wanted.used) * u128::from(held.weight) / u128::from(wanted.weight);
            held.used
                .saturating_sub(u64::try_from(bound).unwrap_or(u64::MAX))
        };
        let others = (self.0.iter()).filter(|queue| !Arc::ptr_eq(&queue.application, application));
        others.map(excess).fold(0, u64::saturating_add)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the application itself has given back, and what others have, if `giver` has given one instance back.
fn given_back<A: HasQuota>(application: &Arc<A>, giver: Option<&Arc<A>>) -> (u64, u64) {
    match giver {
        None => (0, 0),
        Some(giver) if Arc::ptr_eq(giver, application) => (giver.quota().slots(), 0),
        Some(giver) => (0, giver.quota().slots()),
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::instance_pool::test_pool::*;

    #[test]
    fn an_instance_of_many_modules_counts_for_several() {
        let pool = pool(16);
        let large = share(&pool, 1, 5);
        let held = fill(&large);
        assert_eq!((held.len(), pool.taken()), (2, 2));
        let small = share(&pool, 1, 1);
        assert_eq!(fill(&small).len(), 5);
        drop(held);
        assert_eq!((pool.taken(), pool.budget().used()), (0, 0));
        // One that counts for more than there are is served by itself.
        assert_eq!(fill(&share(&pool, 1, 100)).len(), 1);
    }

    /// Applications that hold all but a few instances and want more than they may have: each has one of its
    /// permits given back in turn, until `waiting` is over. Returns how many that took.
    async fn give_back_until<T>(
        held: &mut [Vec<TestInstance>],
        waiting: &tokio::task::JoinHandle<T>,
    ) -> usize {
        for number in 0..48 {
            // Lets the tasks that were granted something run.
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
    async fn an_application_of_large_instances_is_not_starved_by_a_flood() {
        let pool = pool(48);
        let greedy = share(&pool, 1, 1);
        let mut held = [fill(&greedy)];
        assert_eq!(held[0].len(), 36);
        let mut flood = Vec::new();
        for _ in 0..40 {
            flood.push(waits(&greedy).await);
        }
        let large = share(&pool, 1, 16);
        let waiting = waits(&large).await;
        let given = give_back_until(&mut held, &waiting).await;
        // With 16 more, and what is free beside.
        assert_eq!(given, 9);
        assert!(flood.iter().all(|it| !it.is_finished()));
        let permit = waiting.await.unwrap();
        assert_eq!((used(&large), used(&greedy)), (16, 27));
        // What it has is not kept for it any longer.
        drop(permit);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(used(&greedy), 36);
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn slots_held_back_for_a_request_are_granted_to_others_when_it_gives_up() {
        let pool = pool(48);
        let greedy = share(&pool, 1, 1);
        let mut held = fill(&greedy);
        let flood = waits(&greedy).await;
        let large = share(&pool, 1, 16);
        let waiting = waits(&large).await;
        held.pop();
        tokio::task::yield_now().await;
        assert!(!flood.is_finished());
        waiting.abort();
        assert!(waiting.await.is_err());
        assert!(flood.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn no_slots_are_held_back_for_an_application_that_would_hold_more_than_others() {
        let pool = pool(48);
        let applications: Vec<_> = (0..3).map(|_| share(&pool, 1, 1)).collect();
        let mut held: Vec<Vec<_>> = Vec::new();
        for application in &applications {
            held.push((0..12).map_while(|_| try_acquire(application)).collect());
        }
        let large = share(&pool, 1, 40);
        let waiting = waits(&large).await;
        // There is room for more of them, but not for the other one, even if they had less.
        for application in &applications {
            held.push(acquire(application).await.into_iter().collect());
        }
        assert!(held.iter().all(|permits| !permits.is_empty()));
        assert!(!waiting.is_finished());
    }

    #[test]
    fn no_two_instances_that_are_too_large_exist_at_the_same_time() {
        for limit in 1..=16 {
            let large = share(&pool(limit), 1, 64);
            assert_eq!(fill(&large).len(), 1, "of {limit}");
        }
    }
}

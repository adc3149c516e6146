//! Budgets that applications share fairly: for instances, memory and open files. Processor time is shared by
//! `scheduling`. Which requests wait for a share, and in which order, is decided by the users of a budget.
//!
//! The rule is that of shared switch buffers with dynamic thresholds (Choudhury and Hahne, 1998). An
//! application may take more as long as, after that,
//!
//! ```text
//! used by it  <=  3 × weight × (free + 1)          free = limit − used by all
//! ```
//!
//! The `+ 1` lets the last unit of a small budget be used. The last thirty-second of a budget is reserved for
//! applications that hold almost nothing.
//!
//! So one greedy application gets three quarters, `k` of them get 3/(1 + 3k) each, and a part is always free
//! for an application that holds nothing yet. What others do not use may be borrowed; an application over its
//! threshold gets nothing more until it is below, so that what it gives back goes to others. The check is a few
//! atomic operations, and needs no list of the applications.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much of what is free an application of weight 1 may have, as a multiple.
const FACTOR: u64 = 3;

/// One unit in so many is reserved for applications that hold almost nothing. Without this reserve, a few greedy
/// applications that start one after the other would take everything.
const RESERVE_PART: u64 = 32;

/// An application holds almost nothing if it holds at most one unit in so many.
const SMALL_PART: u64 = 256;

/// The smallest budget with a reserve.
const LEAST_RESERVED: u64 = 8;

/// A resource that all applications share, up to a limit.
#[derive(Debug)]
pub(crate) struct Budget {
    used: CacheLine<AtomicU64>,
    limit: u64,
    /// `None` where there is only one application, which may take everything.
    factor: Option<u64>,
    reserve: u64,
}

/// What one application holds of a [`Budget`].
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    used: CacheLine<AtomicU64>,
    weight: u64,
    /// Of changes of the budget's counter.
    ordering: Ordering,
}

/// A value on a cache line of its own, so that writes to it do not slow down readers of its neighbours (false
/// sharing). Two lines wide, since processors prefetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CacheLine<T>(T);

impl<T> Deref for CacheLine<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Budget {
    /// A budget for several applications.
    pub(crate) fn fair(limit: u64) -> Arc<Self> {
        Self::new(limit, Some(FACTOR))
    }

    /// A budget of which one application may take all.
    pub(crate) fn exclusive(limit: u64) -> Arc<Self> {
        Self::new(limit, None)
    }

    fn new(limit: u64, factor: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            used: CacheLine::default(),
            limit,
            factor,
            reserve: match factor {
                Some(_) if limit >= LEAST_RESERVED => (limit / RESERVE_PART).max(1),
                _ => 0,
            },
        })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The most that one application of this weight gets while no other uses anything.
    pub(crate) fn most(&self, weight: u64) -> u64 {
        let Some(factor) = self.factor else {
            return self.limit;
        };
        let parts = u128::from(factor.saturating_mul(weight));
        let most = u128::from(self.limit) * parts / (parts + 1);
        let most = u64::try_from(most).unwrap_or(self.limit);
        most.min(self.limit - self.reserve).max(1)
    }

    /// Whether an application may take `amount` more, so that it then has `wanted`, and all have `after`.
    fn allows(&self, weight: u64, wanted: u64, amount: u64, after: u64) -> bool {
        let is_small = wanted == amount || wanted <= self.limit / SMALL_PART;
        let reserve = if is_small { 0 } else { self.reserve };
        after <= self.limit - reserve && wanted <= self.threshold(weight, after)
    }

    /// The most that an application of this weight may have while `used` is what all have, it included.
    fn threshold(&self, weight: u64, used: u64) -> u64 {
        let free = self.limit.saturating_sub(used).saturating_add(1);
        match self.factor {
            Some(factor) => free.saturating_mul(factor.saturating_mul(weight)),
            None => u64::MAX,
        }
    }
}

impl Share {
    /// A share of a resource that requests wait for. `SeqCst`, since all threads have to see the changes in one
    /// order: a request that begins to wait either sees what was given back, or is seen by the thread that
    /// gives it back (see `InstanceShare::acquire`).
    pub(crate) fn new(budget: Arc<Budget>, weight: u64) -> Self {
        Self::ordered(budget, weight, Ordering::SeqCst)
    }

    /// A share of a resource that is refused, and not waited for, when nothing is left.
    pub(crate) fn without_waiters(budget: Arc<Budget>, weight: u64) -> Self {
        Self::ordered(budget, weight, Ordering::Relaxed)
    }

    fn ordered(budget: Arc<Budget>, weight: u64, ordering: Ordering) -> Self {
        Self {
            budget,
            used: CacheLine::default(),
            weight,
            ordering,
        }
    }

    /// Takes `amount` more, if the budget has it and the application may have it.
    ///
    /// The budget's limit is never exceeded. Calls at the same time may each pass the application's
    /// threshold by what the others take.
    pub(crate) fn try_take(&self, amount: u64) -> bool {
        let Some(wanted) = self.used.load(Ordering::Relaxed).checked_add(amount) else {
            return false;
        };
        let budget = &*self.budget;
        let taken = (budget.used).fetch_update(self.ordering, self.ordering, |used| {
            let after = used.checked_add(amount)?;
            (budget.allows(self.weight, wanted, amount, after)).then_some(after)
        });
        if taken.is_ok() {
            self.used.fetch_add(amount, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Gives back what was taken. Returns what all applications still hold.
    pub(crate) fn give_back(&self, amount: u64) -> u64 {
        self.used.fetch_sub(amount, Ordering::Relaxed);
        self.budget.used.fetch_sub(amount, self.ordering) - amount
    }

    /// Whether `amount` more could be taken now, after the application had given back `own`, and others
    /// `others`.
    pub(crate) fn has_room_after(&self, amount: u64, own: u64, others: u64) -> bool {
        let wanted = self.used().saturating_sub(own).saturating_add(amount);
        let given = own.saturating_add(others);
        let after = (self.budget.used().saturating_sub(given)).saturating_add(amount);
        (self.budget).allows(self.weight, wanted, amount, after)
    }

    /// Whether the application holds more than half of what it may have at this moment: too much to keep anything
    /// idle.
    pub(crate) fn is_scarce(&self) -> bool {
        let used = self.used();
        let all = self.budget.used();
        let is_short = self.budget.factor.is_none() && all > self.budget.limit / 2;
        is_short || used.saturating_mul(2) > self.budget.threshold(self.weight, all)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    #[cfg(test)]
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(share: &Share) -> u64 {
        while share.try_take(1) {}
        share.used()
    }

    #[test]
    fn one_greedy_application_gets_three_quarters_and_its_weight_counts() {
        for (limit, weight, expected) in
            [(1000, 1, 750), (16, 1, 12), (4, 1, 3), (2, 1, 2), (1, 1, 1)]
        {
            let share = Share::new(Budget::fair(limit), weight);
            assert_eq!(fill(&share), expected, "{limit}");
            assert!(share.budget().most(weight) <= expected, "{limit}");
        }
        let heavy = Share::new(Budget::fair(1000), 3);
        assert_eq!(fill(&heavy), 900);
        assert_eq!(fill(&Share::new(Budget::exclusive(10), 1)), 10);
    }

    #[test]
    fn greedy_applications_leave_something_for_a_newcomer() {
        let budget = Budget::fair(1000);
        let shares: Vec<_> = (0..5).map(|_| Share::new(Arc::clone(&budget), 1)).collect();
        // One after the other, with nothing given back.
        for share in &shares {
            assert!(fill(share) > 0);
        }
        // Two of those found next to nothing, and had some of the reserve themselves.
        for _ in 0..8 {
            let newcomer = Share::new(Arc::clone(&budget), 1);
            assert!((0..3).all(|_| newcomer.try_take(1)));
        }
    }

    #[test]
    fn what_is_given_back_goes_to_the_application_that_holds_less() {
        let budget = Budget::fair(1000);
        let greedy = Share::new(Arc::clone(&budget), 1);
        let other = Share::new(budget, 1);
        assert_eq!(fill(&greedy), 750);
        let first = fill(&other);
        // Over its threshold by now, the greedy one gets nothing of what it gives back.
        for _ in 0..100 {
            greedy.give_back(1);
            assert!(!greedy.try_take(1));
        }
        assert!(fill(&other) > first);
    }

    #[test]
    fn amounts_that_do_not_fit_or_overflow_are_not_taken() {
        let share = Share::new(Budget::fair(100), 1000);
        assert!(!share.try_take(101));
        assert!(!share.try_take(u64::MAX));
        assert!(share.try_take(60));
        assert!(!share.try_take(u64::MAX));
        assert!(!share.try_take(41));
        assert_eq!((share.used(), share.budget().used()), (60, 60));
        assert_eq!(share.give_back(60), 0);
    }

    #[test]
    fn scarcity_is_judged_per_application() {
        let budget = Budget::fair(1000);
        let greedy = Share::new(Arc::clone(&budget), 1);
        let other = Share::new(budget, 1);
        assert_eq!(fill(&greedy), 750);
        assert!(greedy.is_scarce());
        assert!(other.try_take(10));
        assert!(!other.is_scarce());
    }
}

//! What one application holds of the instances, and what it may hold: accounting in slots, one per instance of
//! usual size. Who waits for an instance is not known here.

use std::sync::Arc;

use crate::budget::{Budget, Share};

/// The instances of one application.
pub(crate) struct InstanceQuota {
    share: Share,
    /// What one of its instances counts for.
    slots: u64,
}

/// Slots held by an application, relative to its weight: a fraction.
#[derive(Clone, Copy)]
pub(super) struct WeightedUse {
    pub(super) used: u64,
    pub(super) weight: u64,
}

impl WeightedUse {
    pub(super) fn is_less_than(self, other: Self) -> bool {
        // Cross-multiplied; neither product can overflow 128 bits.
        u128::from(self.used) * u128::from(other.weight)
            < u128::from(other.used) * u128::from(self.weight)
    }
}

impl InstanceQuota {
    pub(super) fn new(budget: &Arc<Budget>, weight: u64, slots: u64) -> Self {
        let most = budget.most(weight);
        let slots = if slots <= most {
            slots
        } else {
            // An instance that is too large counts for so much that one fits, and no two of them at a time, for
            // which the pool has no memories.
            most.max(budget.limit() / 2 + 1).min(budget.limit())
        };
        Self {
            share: Share::new(Arc::clone(budget), weight),
            slots,
        }
    }

    /// What one of its instances counts for.
    pub(super) fn slots(&self) -> u64 {
        self.slots
    }

    /// Whether the application might have one more instance now, if idle instances of `idle` slots were destroyed.
    pub(super) fn has_room(&self, idle: u64) -> bool {
        self.has_room_after(0, idle)
    }

    /// Whether it might have one more instance if it had given back `own` slots, and other applications `others`.
    pub(super) fn has_room_after(&self, own: u64, others: u64) -> bool {
        self.share.has_room_after(self.slots, own, others)
    }

    /// Whether it holds more than another application, each relative to its weight.
    pub(super) fn has_more_than(&self, other: &Self) -> bool {
        other.held(0).is_less_than(self.held(0))
    }

    /// What it holds, if it had given back `given` slots.
    pub(super) fn held(&self, given: u64) -> WeightedUse {
        WeightedUse {
            used: self.share.used().saturating_sub(given),
            weight: self.share.weight().max(1),
        }
    }

    /// The same with one more instance.
    pub(super) fn held_with_one_more(&self, given: u64) -> WeightedUse {
        let mut held = self.held(given);
        held.used = held.used.saturating_add(self.slots);
        held
    }

    /// Takes the slots of one instance, if the application may have them.
    pub(super) fn try_take(&self) -> bool {
        self.share.try_take(self.slots)
    }

    /// Gives back those of one instance. Returns what all applications still hold.
    pub(super) fn give_back(&self) -> u64 {
        self.share.give_back(self.slots)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.share.used()
    }
}

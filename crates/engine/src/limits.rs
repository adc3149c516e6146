use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::open_files::Descriptors;
use crate::share::{Budget, Share};

/// How much one request may take. Each limit holds for every request of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the end of the request's header section to the start of the response, wall clock.
    /// Default: 30 seconds; [`Duration::MAX`] is no limit. At the edge the client gets 504.
    pub timeout: Duration,
    /// Computation of the guest, from its start to its end, also behind the response; waiting is
    /// none. An instance that serves several requests at a time may compute for so long for each.
    /// Default: 10 seconds; [`Duration::MAX`] is no limit. At the edge the client gets 504, or
    /// a response that is cut off.
    pub execution_timeout: Duration,
    /// Linear memories and tables of one instance together, in bytes. Default: 256 MiB. At the
    /// edge `memory.grow` fails in the guest, as it would on a full machine.
    pub memory: u64,
    /// Requests in progress, each with its instance. Default: as many as the application gets of
    /// [`Engine::instances`](crate::Engine::instances) while no other has any, which is three quarters
    /// with a `weight` of 1. At the edge the next waits for a second, then gets 503.
    pub concurrency: Option<NonZeroU32>,
    /// Files and folders that one instance may have open, those not counted that it is given. Default: 64.
    /// At the edge, opening one more fails in the guest with `quota`.
    pub files: u32,
    /// How much of what applications share this one may take, compared with others: instances, memory,
    /// open files with outgoing connections, and processor time of guests that compute for long.
    /// Default: 1.
    pub weight: NonZeroU32,
    /// How long a guest may go on after its response, or the last one, has ended, wall clock. Default: 30 seconds.
    /// At the edge the instance is cancelled and the log says so.
    pub after_response: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            execution_timeout: Duration::from_secs(10),
            memory: 256 << 20,
            concurrency: None,
            files: 64,
            weight: NonZeroU32::MIN,
            after_response: Duration::from_secs(30),
        }
    }
}

/// What all instances of one application have together: memory, open files, and how many they are.
#[derive(Debug)]
pub(crate) struct Holdings {
    memory: Share,
    descriptors: Arc<Descriptors>,
    started: AtomicU64,
    gone: AtomicU64,
    peak: AtomicU64,
}

impl Holdings {
    pub(crate) fn new(
        memory: Arc<Budget>,
        descriptors: Arc<Descriptors>,
        weight: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            memory: Share::new(memory, weight),
            descriptors,
            started: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        })
    }

    pub(crate) fn instances(&self) -> u64 {
        // Read one after the other while instances come and go: never less than zero.
        let gone = self.gone.load(Ordering::Relaxed);
        self.instances_started().saturating_sub(gone)
    }

    pub(crate) fn instances_started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.used()
    }

    pub(crate) fn peak_memory(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether there is too little memory to keep an instance that is not at work.
    pub(crate) fn is_memory_scarce(&self) -> bool {
        self.memory.is_scarce()
    }

    /// Open files and outgoing connections.
    pub(crate) fn descriptors(&self) -> &Arc<Descriptors> {
        &self.descriptors
    }

    /// Takes so many bytes, if the application may have them.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        if !self.memory.try_take(bytes) {
            return false;
        }
        let memory = self.memory.used();
        // Once the peak is reached, to read it is all that this costs.
        if memory > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(memory, Ordering::Relaxed);
        }
        true
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.memory.give_back(bytes);
    }
}

/// One instance's account: counts what its memories and tables take, and gives it back to its
/// application's holdings when the instance is gone.
pub(crate) struct MemoryAccount {
    holdings: Arc<Holdings>,
    used: u64,
    limit: u64,
    /// What the last growth has taken.
    last: u64,
}

impl MemoryAccount {
    pub(crate) fn new(holdings: Arc<Holdings>, limit: u64) -> Self {
        holdings.started.fetch_add(1, Ordering::Relaxed);
        Self {
            holdings,
            used: 0,
            limit,
            last: 0,
        }
    }

    pub(crate) fn holdings(&self) -> &Arc<Holdings> {
        &self.holdings
    }

    /// Bytes that the instance may have.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    fn grow(&mut self, bytes: u64) -> bool {
        self.last = 0;
        let Some(used) = self
            .used
            .checked_add(bytes)
            .filter(|used| *used <= self.limit)
        else {
            return false;
        };
        if !self.holdings.take(bytes) {
            return false;
        }
        (self.used, self.last) = (used, bytes);
        true
    }

    /// The last growth was allowed, and has failed all the same.
    fn undo(&mut self) {
        let last = std::mem::take(&mut self.last);
        self.used -= last;
        self.holdings.give_back(last);
    }
}

impl ResourceLimiter for MemoryAccount {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        // Wasmtime's table elements are pointers.
        let elements = desired.saturating_sub(current) as u64;
        Ok(self.grow(elements.saturating_mul(size_of::<usize>() as u64)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        self.holdings.give_back(self.used);
        self.holdings.gone.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_files::DescriptorBudget;

    fn holdings(memory: &Arc<Budget>) -> Arc<Holdings> {
        let all = DescriptorBudget::new(Budget::fair(10));
        let descriptors = Descriptors::new(all, 1);
        Holdings::new(Arc::clone(memory), descriptors, 1)
    }

    fn account(budget: u64, limit: u64) -> MemoryAccount {
        MemoryAccount::new(holdings(&Budget::exclusive(budget)), limit)
    }

    #[test]
    fn an_instance_stops_at_its_own_limit() {
        let mut account = account(1000, 100);
        assert!(account.memory_growing(0, 60, None).unwrap());
        assert!(!account.memory_growing(60, 101, None).unwrap());
        assert!(account.memory_growing(60, 100, None).unwrap());
        assert!(!account.table_growing(0, 1, None).unwrap());
        assert!(!account.memory_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn a_growth_that_fails_takes_nothing() {
        let mut account = account(100, 100);
        assert!(account.memory_growing(0, 60, None).unwrap());
        assert!(!account.memory_growing(60, 90, Some(80)).unwrap());
        assert!(account.memory_growing(60, 100, None).unwrap());
        let failed = wasmtime::Error::msg("no memory");
        account.memory_grow_failed(failed).unwrap();
        assert!(account.memory_growing(60, 100, None).unwrap());
        assert_eq!((account.used, account.holdings.memory()), (100, 100));
        assert!(account.holdings.is_memory_scarce());
    }

    #[test]
    fn all_instances_together_stop_at_the_budget_and_give_back_what_they_had() {
        let budget = Budget::exclusive(100);
        let mut first = MemoryAccount::new(holdings(&budget), 100);
        let mut second = MemoryAccount::new(holdings(&budget), 100);
        assert!(first.memory_growing(0, 70, None).unwrap());
        assert!(!second.memory_growing(0, 40, None).unwrap());
        drop(first);
        assert!(second.memory_growing(0, 40, None).unwrap());
    }

    #[test]
    fn an_application_has_what_its_instances_have_and_knows_the_most_it_ever_had() {
        let budget = Budget::exclusive(100);
        let holdings = holdings(&budget);
        let mut first = MemoryAccount::new(Arc::clone(&holdings), 100);
        let mut second = MemoryAccount::new(Arc::clone(&holdings), 100);
        assert!(first.memory_growing(0, 50, None).unwrap());
        assert!(second.memory_growing(0, 40, None).unwrap());
        assert!(!second.memory_growing(40, 60, None).unwrap());
        assert_eq!((holdings.memory(), holdings.peak_memory()), (90, 90));
        drop(first);
        assert_eq!((holdings.memory(), holdings.peak_memory()), (40, 90));
        assert_eq!((holdings.instances(), holdings.instances_started()), (1, 2));
        drop(second);
        assert_eq!((holdings.memory(), budget.used()), (0, 0));
        assert_eq!((holdings.instances(), holdings.instances_started()), (0, 2));
    }

    #[test]
    fn a_memory_bomb_leaves_memory_for_the_instances_of_other_applications() {
        let budget = Budget::fair(1000);
        let bomb = holdings(&budget);
        let mut bombs: Vec<_> = (0..20)
            .map(|_| MemoryAccount::new(Arc::clone(&bomb), 100))
            .collect();
        for account in &mut bombs {
            while account.memory_growing(0, 10, None).unwrap() {}
        }
        assert_eq!(bomb.memory(), 750);
        let mut other = MemoryAccount::new(holdings(&budget), 100);
        assert!(other.memory_growing(0, 100, None).unwrap());
    }
}

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::budget::{Budget, CacheLine, Share};
use crate::sandbox::open_files::Descriptors;

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
    instances: CacheLine<InstanceCounts>,
    peak: AtomicU64,
    /// Bytes that an instance has when it has started, as far as is known.
    initial: AtomicU64,
}

#[derive(Debug, Default)]
struct InstanceCounts {
    started: AtomicU64,
    gone: AtomicU64,
}

impl Holdings {
    pub(crate) fn new(
        memory: Arc<Budget>,
        descriptors: Arc<Descriptors>,
        weight: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            memory: Share::without_waiters(memory, weight),
            descriptors,
            instances: CacheLine::default(),
            peak: AtomicU64::new(0),
            initial: AtomicU64::new(0),
        })
    }

    pub(crate) fn instances(&self) -> u64 {
        // Read one after the other while instances come and go: never less than zero.
        let gone = self.instances.gone.load(Ordering::Relaxed);
        self.instances_started().saturating_sub(gone)
    }

    pub(crate) fn instances_started(&self) -> u64 {
        self.instances.started.load(Ordering::Relaxed)
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
        if bytes > 0 {
            self.memory.give_back(bytes);
        }
    }

    /// An instance has started with so many bytes, which is what the next one will need as well.
    fn note_initial(&self, bytes: u64) {
        // It is the same for nearly all, so that nothing is written.
        if self.initial.load(Ordering::Relaxed) != bytes {
            self.initial.store(bytes, Ordering::Relaxed);
        }
    }
}

/// One instance's account: counts what its memories and tables take, and gives it back to its
/// application's holdings when it is dropped, which is to be after the memories themselves.
pub(crate) struct MemoryAccount {
    holdings: Arc<Holdings>,
    /// Bytes of its memories and tables.
    used: u64,
    /// Bytes that the holdings count for it: `used`, and until it has started what it is expected to need.
    taken: u64,
    limit: u64,
    has_started: bool,
    pending: Option<Growth>,
}

/// A growth that was allowed, and may fail all the same.
struct Growth {
    of: Growing,
    bytes: u64,
}

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growing {
    Memory,
    Table,
}

impl MemoryAccount {
    pub(crate) fn new(holdings: Arc<Holdings>, limit: u64) -> Self {
        let counts = &holdings.instances;
        counts.started.fetch_add(1, Ordering::Relaxed);
        Self {
            holdings,
            used: 0,
            taken: 0,
            limit,
            has_started: false,
            pending: None,
        }
    }

    pub(crate) fn holdings(&self) -> &Arc<Holdings> {
        &self.holdings
    }

    /// Bytes that the instance may have.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// For one operation, of those in which Wasmtime asks for growth: an instruction of the guest's, or the
    /// instantiation of a module. A growth of an operation before it has not failed.
    ///
    /// Wasmtime reports failures of growths too that it has not asked for (`table.grow` beyond all
    /// numbers). Such a one must not undo the last growth that has succeeded, or the guest would have
    /// memory that is not counted.
    pub(crate) fn operation(&mut self) -> &mut Self {
        self.pending = None;
        self
    }

    /// The instance has all that it begins with.
    pub(crate) fn started(&mut self) {
        self.has_started = true;
        self.holdings.note_initial(self.used);
        self.settle();
    }

    fn grow(&mut self, of: Growing, bytes: u64) -> bool {
        self.pending = None;
        let used = self.used.checked_add(bytes);
        let Some(used) = used.filter(|used| *used <= self.limit) else {
            return false;
        };
        if used > self.taken && !self.take(used - self.taken) {
            return false;
        }
        self.used = used;
        self.pending = Some(Growth { of, bytes });
        true
    }

    /// Takes at least so many bytes: an instance that begins takes all that it will begin with at once,
    /// since each memory and table by itself would be as many writes to what all threads share.
    fn take(&mut self, bytes: u64) -> bool {
        let expected = if self.has_started || self.taken > 0 {
            bytes
        } else {
            self.holdings.initial.load(Ordering::Relaxed).max(bytes)
        };
        for bytes in [expected, bytes] {
            if self.holdings.take(bytes) {
                self.taken += bytes;
                return true;
            }
        }
        false
    }

    /// The growth that was just allowed, if there is one of this kind, has failed.
    fn failed(&mut self, of: Growing) {
        if let Some(growth) = self.pending.take()
            && growth.of == of
        {
            self.used -= growth.bytes;
            self.settle();
        }
    }

    /// Gives back what is not used.
    fn settle(&mut self) {
        self.holdings.give_back(self.taken - self.used);
        self.taken = self.used;
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
            self.pending = None;
            return Ok(false);
        }
        Ok(self.grow(Growing::Memory, desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(Growing::Memory);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.pending = None;
            return Ok(false);
        }
        // Wasmtime's table elements are pointers.
        let elements = desired.saturating_sub(current) as u64;
        let bytes = elements.saturating_mul(size_of::<usize>() as u64);
        Ok(self.grow(Growing::Table, bytes))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(Growing::Table);
        Ok(())
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        self.holdings.give_back(self.taken);
        let counts = &self.holdings.instances;
        counts.gone.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::open_files::DescriptorBudget;
    use crate::{Failure, Settings, wat_guest};

    fn holdings(memory: &Arc<Budget>) -> Arc<Holdings> {
        let all = DescriptorBudget::new(Budget::fair(10));
        let descriptors = Descriptors::new(all, 1);
        Holdings::new(Arc::clone(memory), descriptors, 1)
    }

    fn account(budget: u64, limit: u64) -> MemoryAccount {
        MemoryAccount::new(holdings(&Budget::exclusive(budget)), limit)
    }

    /// How a request ends at a guest with one page of memory and a table of one element, which does this and
    /// traps where the other is not what comes of it; and the most memory that was counted.
    fn grows(limit: u64, steps: &[(&str, &str)]) -> (Failure, u64) {
        let steps = steps.iter().map(|(step, expected)| {
            let is = if step.contains("memory") {
                "i32"
            } else {
                "i64"
            };
            format!("(if ({is}.ne {step} ({is}.const {expected})) (then (unreachable)))")
        });
        let module = format!(
            r#"(core module $module
                (memory 1)
                (table $table i64 1 funcref)
                (func (export "handle") (param i32 i32) {})
            )"#,
            steps.collect::<Vec<_>>().concat()
        );
        let settings = Settings {
            limits: Limits {
                memory: limit,
                ..Limits::default()
            },
            ..Settings::new("grows")
        };
        let application = wat_guest::application(&module, settings);
        let failure = wat_guest::failure(&application);
        (failure, application.figures().peak_memory)
    }

    const PAGE: u64 = 1 << 16;

    #[test]
    fn a_table_grow_that_overflows_does_not_give_memory_back() {
        // One more than there can be, in a table that has one element.
        let overflow = ("(table.grow $table (ref.null func) (i64.const -1))", "-1");
        let limit = 64 * PAGE;
        let (failure, peak) = grows(
            limit,
            &[
                ("(memory.grow (i32.const 60))", "1"),
                overflow,
                ("(memory.grow (i32.const 60))", "-1"),
                overflow,
                overflow,
                ("(memory.grow (i32.const 60))", "-1"),
                ("(memory.grow (i32.const 2))", "61"),
            ],
        );
        assert!(matches!(failure, Failure::NoResponse), "{failure}");
        assert_eq!(peak, 63 * PAGE + 8);
    }

    #[test]
    fn a_table_grow_that_overflows_does_not_give_the_table_back() {
        let overflow = ("(table.grow $table (ref.null func) (i64.const -1))", "-1");
        let (failure, peak) = grows(
            PAGE + 8 * 100_000,
            &[
                ("(table.grow $table (ref.null func) (i64.const 60000))", "1"),
                overflow,
                (
                    "(table.grow $table (ref.null func) (i64.const 60000))",
                    "-1",
                ),
                ("(memory.grow (i32.const 10))", "-1"),
            ],
        );
        assert!(matches!(failure, Failure::NoResponse), "{failure}");
        assert_eq!(peak, PAGE + 8 * 60_001);
    }

    #[test]
    fn a_failure_of_another_operation_undoes_no_growth() {
        let failed = || wasmtime::Error::msg("overflow");
        let mut account = account(100, 100);
        assert!(account.operation().memory_growing(0, 90, None).unwrap());
        account.operation().table_grow_failed(failed()).unwrap();
        account.operation().memory_grow_failed(failed()).unwrap();
        // Nor does one of the other kind, or one that was refused.
        let operation = account.operation();
        assert!(operation.memory_growing(90, 95, None).unwrap());
        operation.table_grow_failed(failed()).unwrap();
        let operation = account.operation();
        assert!(!operation.memory_growing(95, 101, None).unwrap());
        operation.memory_grow_failed(failed()).unwrap();
        let operation = account.operation();
        assert!(!operation.memory_growing(95, 99, Some(98)).unwrap());
        operation.memory_grow_failed(failed()).unwrap();
        assert_eq!((account.used, account.holdings.memory()), (95, 95));
    }

    #[test]
    fn an_instance_takes_at_once_what_the_one_before_had_when_it_had_started() {
        let holdings = holdings(&Budget::exclusive(100));
        let start = |account: &mut MemoryAccount| {
            assert!(account.memory_growing(0, 30, None).unwrap());
            let taken = account.taken;
            assert!(account.table_growing(0, 1, None).unwrap());
            account.started();
            assert_eq!((account.used, account.taken), (38, 38));
            taken
        };
        let mut first = MemoryAccount::new(Arc::clone(&holdings), 60);
        assert_eq!(start(&mut first), 30);
        let mut second = MemoryAccount::new(Arc::clone(&holdings), 60);
        assert_eq!(start(&mut second), 38);
        // There is room for what it needs, and not for what it is expected to need.
        let mut third = MemoryAccount::new(Arc::clone(&holdings), 60);
        assert!(third.memory_growing(0, 20, None).unwrap());
        third.started();
        assert_eq!(holdings.memory(), 96);
        drop((second, third));
        // One that needs less gives the rest back.
        let mut fourth = MemoryAccount::new(Arc::clone(&holdings), 60);
        assert!(fourth.memory_growing(0, 10, None).unwrap());
        fourth.started();
        assert_eq!(holdings.memory(), 48);
        drop((first, fourth));
        assert_eq!(holdings.memory(), 0);
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

//! The memory of one instance: its limit, and what it takes from its application. What the application may take
//! is in [`application_memory`](crate::sandbox::application_memory).

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::sandbox::application_memory::ApplicationMemory;

/// The memory account of one instance: counts what its memories and tables take, and gives it back to its
/// application when it is dropped, which has to be after the memories themselves are freed.
pub(crate) struct MemoryAccount {
    application: Arc<ApplicationMemory>,
    /// Bytes of the memories and tables.
    used: u64,
    /// Bytes taken from the application: `used`, and until the instance has started, what it is expected to need.
    taken: u64,
    limit: u64,
    has_started: bool,
    pending: Option<Growth>,
}

/// A growth that was allowed, and may still fail.
struct Growth {
    of: Growing,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Growing {
    Memory,
    Table,
}

impl MemoryAccount {
    pub(crate) fn new(application: Arc<ApplicationMemory>, limit: u64) -> Self {
        application.note_instance_started();
        Self {
            application,
            used: 0,
            taken: 0,
            limit,
            has_started: false,
            pending: None,
        }
    }

    /// Begins one operation in which Wasmtime may ask for growth: an instruction of the guest, or the instantiation
    /// of a module. It settles that the growth of the operation before has not failed.
    ///
    /// Wasmtime also reports failures of growths that it has not asked for (`table.grow` by more than the table can
    /// hold). Such a failure must not undo the last successful growth, or the guest would have memory that is not
    /// counted.
    pub(crate) fn operation(&mut self) -> &mut Self {
        self.pending = None;
        self
    }

    /// To be called when the instance has started, with its initial memories and tables.
    pub(crate) fn started(&mut self) {
        self.has_started = true;
        self.application.note_initial(self.used);
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

    /// Takes at least so many bytes from the application. An instance that starts takes everything that it is
    /// expected to start with at once: one write to a counter that all threads share, instead of one per memory
    /// and table.
    fn take(&mut self, bytes: u64) -> bool {
        let expected = if self.has_started || self.taken > 0 {
            bytes
        } else {
            self.application.initial().max(bytes)
        };
        for bytes in [expected, bytes] {
            if self.application.take(bytes) {
                self.taken += bytes;
                return true;
            }
        }
        false
    }

    /// Undoes the growth that was just allowed, if there is one of this kind.
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
        self.application.give_back(self.taken - self.used);
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
        self.application.give_back(self.taken);
        self.application.note_instance_gone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::{Failure, Limits, Settings, wat_guest};

    fn application(memory: &Arc<Budget>) -> Arc<ApplicationMemory> {
        ApplicationMemory::new(Arc::clone(memory), 1)
    }

    fn account(budget: u64, limit: u64) -> MemoryAccount {
        MemoryAccount::new(application(&Budget::exclusive(budget)), limit)
    }

    /// Runs a guest with one page of memory and a table of one element: it executes each step, and traps where the
    /// result is not the expected one. Returns how its request ends, and the peak of the counted memory.
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
        (failure, application.stats().peak_memory)
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
    fn a_failed_growth_of_another_operation_undoes_nothing() {
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
        assert_eq!((account.used, account.application.used()), (95, 95));
    }

    #[test]
    fn a_starting_instance_takes_the_initial_memory_of_the_last_one_at_once() {
        let application = application(&Budget::exclusive(100));
        let start = |account: &mut MemoryAccount| {
            assert!(account.memory_growing(0, 30, None).unwrap());
            let taken = account.taken;
            assert!(account.table_growing(0, 1, None).unwrap());
            account.started();
            assert_eq!((account.used, account.taken), (38, 38));
            taken
        };
        let mut first = MemoryAccount::new(Arc::clone(&application), 60);
        assert_eq!(start(&mut first), 30);
        let mut second = MemoryAccount::new(Arc::clone(&application), 60);
        assert_eq!(start(&mut second), 38);
        // There is room for what it needs, and not for what it is expected to need.
        let mut third = MemoryAccount::new(Arc::clone(&application), 60);
        assert!(third.memory_growing(0, 20, None).unwrap());
        third.started();
        assert_eq!(application.used(), 96);
        drop((second, third));
        // One that needs less gives the rest back.
        let mut fourth = MemoryAccount::new(Arc::clone(&application), 60);
        assert!(fourth.memory_growing(0, 10, None).unwrap());
        fourth.started();
        assert_eq!(application.used(), 48);
        drop((first, fourth));
        assert_eq!(application.used(), 0);
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
        assert_eq!((account.used, account.application.used()), (100, 100));
        assert!(account.application.is_scarce());
    }

    #[test]
    fn all_instances_together_stop_at_the_budget_and_give_back_what_they_had() {
        let budget = Budget::exclusive(100);
        let mut first = MemoryAccount::new(application(&budget), 100);
        let mut second = MemoryAccount::new(application(&budget), 100);
        assert!(first.memory_growing(0, 70, None).unwrap());
        assert!(!second.memory_growing(0, 40, None).unwrap());
        drop(first);
        assert!(second.memory_growing(0, 40, None).unwrap());
    }

    #[test]
    fn the_memory_of_an_application_is_that_of_its_instances_with_a_peak() {
        let budget = Budget::exclusive(100);
        let application = application(&budget);
        let mut first = MemoryAccount::new(Arc::clone(&application), 100);
        let mut second = MemoryAccount::new(Arc::clone(&application), 100);
        assert!(first.memory_growing(0, 50, None).unwrap());
        assert!(second.memory_growing(0, 40, None).unwrap());
        assert!(!second.memory_growing(40, 60, None).unwrap());
        assert_eq!((application.used(), application.peak()), (90, 90));
        drop(first);
        assert_eq!((application.used(), application.peak()), (40, 90));
        assert_eq!(
            (application.instances(), application.instances_started()),
            (1, 2)
        );
        drop(second);
        assert_eq!((application.used(), budget.used()), (0, 0));
        assert_eq!(
            (application.instances(), application.instances_started()),
            (0, 2)
        );
    }

    #[test]
    fn a_memory_bomb_leaves_memory_for_the_instances_of_other_applications() {
        let budget = Budget::fair(1000);
        let bomb = application(&budget);
        let mut bombs: Vec<_> = (0..20)
            .map(|_| MemoryAccount::new(Arc::clone(&bomb), 100))
            .collect();
        for account in &mut bombs {
            while account.memory_growing(0, 10, None).unwrap() {}
        }
        assert_eq!(bomb.used(), 750);
        let mut other = MemoryAccount::new(application(&budget), 100);
        assert!(other.memory_growing(0, 100, None).unwrap());
    }
}

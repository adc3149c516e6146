pub(crate) mod concurrency_limit;
pub(crate) mod epoch;
pub(crate) mod idle;
pub(crate) mod instance_pool;
pub(crate) mod system_limits;
pub(crate) mod wait;

use std::hash::{Hash as _, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::budget::Budget;
use crate::engine::epoch::Ticker;
use crate::engine::idle::Idle;
use crate::engine::instance_pool::{Grant, InstancePool, InstanceShare};
use crate::run::offload::Background;
use crate::sandbox::Instance;
use crate::sandbox::filesystem;
use crate::sandbox::guest::Guest;
use crate::sandbox::incoming_body;
use crate::sandbox::open_files::DescriptorBudget;

/// Memory of the machine for which one more instance may exist.
const MEMORY_PER_INSTANCE: u64 = 16 << 20;

/// Bounds of the default number of instances.
const LEAST_INSTANCES: u64 = 16;
const MOST_INSTANCES: u64 = 1000;

/// Tables, memories and stacks of one instance. One that has more counts for several.
pub(crate) const TABLES_PER_COMPONENT: u32 = 4;
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 2;
pub(crate) const STACKS_PER_COMPONENT: u32 = 2;

/// The most that one component may have of them, so that it cannot take all: those of many small
/// modules, such as an interpreter's, have some dozens.
const MOST_CORE_INSTANCES: u32 = 256;
const MOST_TABLES: u32 = 64;
const MOST_MEMORIES: u32 = 16;
pub(crate) const MOST_STACKS: u32 = 64;

/// Elements that a table may have. Only address space is reserved for them.
const TABLE_ELEMENTS: usize = 200_000;

/// What an [`Engine`] is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Instances at a time, over all applications. Default: one for each 16 MiB of `memory`, at
    /// least 16 and at most 1000.
    pub instances: u32,
    /// Memory of all instances together, in bytes. Default: three quarters of the machine's (or
    /// the cgroup's, where that is less), 4 GiB where that cannot be told.
    pub memory: u64,
    /// Where guests go on that compute for long, so that they do not take turns with others on the
    /// thread that serves them: a runtime with threads of its own. Default: nowhere else.
    pub background: Option<Handle>,
    /// Files and outgoing connections of all guests together. Default: half of the files that the process
    /// may have open now (`RLIMIT_NOFILE`).
    pub files: u64,
    /// Whether one application is all that there will be. It may then have all of the above; otherwise
    /// applications share it by their [`weight`](crate::Limits::weight), and one by itself gets three
    /// quarters. Default: no.
    pub sole_application: bool,
}

impl Options {
    /// As many instances as so many bytes of memory suffice for.
    #[must_use]
    pub fn for_memory(memory: u64) -> Self {
        let instances = (memory / MEMORY_PER_INSTANCE).clamp(LEAST_INSTANCES, MOST_INSTANCES);
        Self {
            instances: instances as u32,
            memory,
            background: None,
            files: system_limits::files() / 2,
            sole_application: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::for_memory(system_limits::memory().map_or(4 << 30, |bytes| bytes / 4 * 3))
    }
}

/// The Wasmtime engine with its instance pool, its linker and its clock: what all applications of
/// a process share.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    sequential: Kind,
    concurrent: Kind,
    ticker: Ticker,
    memory: Arc<Budget>,
    files: Arc<DescriptorBudget>,
    instances: Arc<InstancePool>,
    idle: Idle,
    pooled: bool,
    background: Option<Background>,
}

/// One of Wasmtime's own engines, and what its guests may import.
///
/// There are two. Keeping a store ready for concurrent tasks, as WASI 0.3 has them, costs a third of
/// what a small request does; so components that do not need that are compiled and run without.
pub(crate) struct Kind {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) linker: Linker<Guest>,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Wasmtime does not work on this machine.
    #[error("wasmtime cannot start: {0:#}")]
    Wasmtime(wasmtime::Error),
    /// The operating system has no thread to give.
    #[error("no thread for the epoch ticker: {0}")]
    Thread(#[from] io::Error),
}

impl Engine {
    /// Reserves the instance pool and links WASI.
    ///
    /// Where the address space does not suffice for the pool, three quarters as many instances are tried,
    /// and so on; below 16 instances are allocated one by one, which is slower, and the log warns.
    ///
    /// # Errors
    ///
    /// When the machine lacks what Wasmtime needs.
    pub fn new(options: &Options) -> Result<Self, EngineError> {
        let ([sequential, concurrent], total, pooled) = allocate(options.instances.max(1))?;
        let ticker = Ticker::start([sequential.weak(), concurrent.weak()])?;
        let budget = if options.sole_application {
            Budget::exclusive
        } else {
            Budget::fair
        };
        let kind = |wasmtime| Kind::new(wasmtime).map_err(EngineError::Wasmtime);
        Ok(Self(Arc::new(Inner {
            sequential: kind(sequential)?,
            concurrent: kind(concurrent)?,
            ticker,
            memory: budget(options.memory),
            files: DescriptorBudget::new(budget(options.files)),
            instances: InstancePool::new(budget(total.into())),
            idle: Idle::default(),
            pooled,
            background: options.background.clone().map(Background::new),
        })))
    }

    /// Instances that may exist at a time.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.0.instances.total()
    }

    /// Instances that exist now, of all applications, those that wait for their next request
    /// included.
    #[must_use]
    pub fn active_instances(&self) -> u32 {
        self.0.instances.taken()
    }

    /// Whether instances come from a pool. If not, each costs several system calls.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }

    /// Linear memories and tables of all instances, in bytes.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.0.memory.used()
    }

    /// How many bytes that may be.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.0.memory.limit()
    }

    /// Open files and outgoing connections of all guests.
    #[must_use]
    pub fn files_used(&self) -> u64 {
        self.0.files.used()
    }

    /// How many that may be.
    #[must_use]
    pub fn files_limit(&self) -> u64 {
        self.0.files.limit()
    }

    /// How often guests have been interrupted so far, or would have been.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.0.ticker.ticks()
    }

    /// Feeds all to `state` that machine code depends on: the version of Wasmtime and the settings
    /// of its compiler. [Images](crate::Component::image) of engines that differ in it do not fit.
    pub fn fingerprint(&self, state: &mut impl Hasher) {
        for kind in self.kinds() {
            kind.wasmtime.precompile_compatibility_hash().hash(state);
        }
    }

    /// Waits until no instance is left, of any application. Those that are made meanwhile are waited
    /// for, too.
    pub async fn idle(&self) {
        self.0.idle.close();
        self.0.instances.wait_empty().await;
    }

    /// What an application of this weight has of the instances, each of which counts for so many.
    pub(crate) fn instance_share(&self, weight: u64, slots: u64) -> Arc<InstanceShare> {
        InstanceShare::new(Arc::clone(&self.0.instances), weight, slots)
    }

    /// How many requests an application of this weight has in progress by default, where each instance
    /// counts for so many.
    pub(crate) fn default_concurrency(&self, weight: u64, slots: u64) -> u32 {
        let most = (self.0.instances.budget().most(weight) / slots).max(1);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Whether one more instance could be made at once.
    pub(crate) fn has_room(&self, application: &InstanceShare) -> bool {
        application.has_room(self.0.idle.slots_for(application))
    }

    pub(crate) fn background(&self) -> Option<&Background> {
        self.0.background.as_ref()
    }

    /// The right to have one more instance, or one that is not needed any more, as soon as there is one;
    /// `None` when that takes too long, or longer than `limit`. Instances that only wait for their next
    /// request make room.
    pub(crate) async fn acquire(
        &self,
        application: &Arc<InstanceShare>,
        limit: Duration,
    ) -> Option<Grant> {
        let Inner {
            instances, idle, ..
        } = &*self.0;
        let find = || {
            let found = idle.take(application);
            if found.is_none() {
                idle.make_room(instances);
            }
            found
        };
        (application.acquire(limit, find, |instance| self.keep(instance))).await
    }

    /// Gives an instance to a request of its application that waits, if it is its turn, or keeps it for the
    /// next one.
    pub(crate) fn keep(&self, instance: Instance) {
        let Inner {
            instances, idle, ..
        } = &*self.0;
        let mut kept = Some(instance);
        while let Some(instance) = kept {
            if let Err(instance) = instances.hand_over(instance) {
                idle.put(instance);
            }
            // Asked after that: a request that waits has either seen the instance, or is seen here.
            if !instances.is_awaited() {
                return;
            }
            kept = idle.take_for(|application| instances.is_awaited_by(application));
        }
        idle.make_room(instances);
    }

    pub(crate) fn idle_instances(&self) -> &Idle {
        &self.0.idle
    }

    /// Wasmtime's own engines, in the order in which a component is to be tried.
    pub(crate) fn kinds(&self) -> [&Kind; 2] {
        [&self.0.sequential, &self.0.concurrent]
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }

    pub(crate) fn memory(&self) -> &Arc<Budget> {
        &self.0.memory
    }

    pub(crate) fn files(&self) -> &Arc<DescriptorBudget> {
        &self.0.files
    }
}

/// The sequential engine and the concurrent one, for so many instances each, or fewer.
fn allocate(instances: u32) -> Result<([wasmtime::Engine; 2], u32, bool), EngineError> {
    let mut size = instances;
    while size >= 16.min(instances) {
        match engines(|concurrent| pool(size, concurrent)) {
            Ok(engines) => {
                if size < instances {
                    tracing::warn!(
                        "the address space suffices for a pool of {size} instances, not {instances}"
                    );
                }
                return Ok((engines, size, true));
            }
            Err(error) => tracing::debug!("no pool of {size} instances: {error:#}"),
        }
        // In steps, so that most of what there is room for is used.
        size -= size.div_ceil(4);
    }
    tracing::warn!("no instance pool on this machine: instances are allocated one by one");
    let engines = engines(|_| InstanceAllocationStrategy::OnDemand);
    let engines = engines.map_err(EngineError::Wasmtime)?;
    Ok((engines, instances, false))
}

fn engines(
    allocation: impl Fn(bool) -> InstanceAllocationStrategy,
) -> wasmtime::Result<[wasmtime::Engine; 2]> {
    let engine = |concurrent| {
        let mut config = Config::new();
        config.epoch_interruption(true);
        // A backtrace names the guest's functions, which is what its author needs of a trap.
        config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
        config.concurrency_support(concurrent);
        config.allocation_strategy(allocation(concurrent));
        wasmtime::Engine::new(&config)
    };
    Ok([engine(false)?, engine(true)?])
}

/// What so many instances of the usual size need, each with a heap for references, which takes a memory
/// that Wasmtime does not count among those of its component. An instance that would count for more than
/// there are counts for all that its application may have: there is room for one of the largest beside.
fn pool(instances: u32, concurrent: bool) -> InstanceAllocationStrategy {
    let total = |each: u32, most: u32| instances.saturating_mul(each).saturating_add(most);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_gc_heaps(instances)
        .total_stacks(if concurrent {
            total(STACKS_PER_COMPONENT, MOST_STACKS)
        } else {
            instances
        })
        // Only a count: nothing is reserved for them.
        .total_core_instances(instances.saturating_mul(MOST_CORE_INSTANCES))
        .total_tables(total(TABLES_PER_COMPONENT, MOST_TABLES))
        .total_memories(total(MEMORIES_PER_COMPONENT + 1, MOST_MEMORIES))
        .table_elements(TABLE_ELEMENTS)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .max_tables_per_module(16)
        .max_memories_per_module(16)
        .max_core_instances_per_component(MOST_CORE_INSTANCES)
        .max_tables_per_component(MOST_TABLES)
        .max_memories_per_component(MOST_MEMORIES);
    // Keeping pages resident pays only where the kernel tells which of them were written.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

impl Kind {
    /// Links WASI: all of it, since the standard libraries of most languages import files and the
    /// environment, whether a program uses them or not; and where there are concurrent tasks in both
    /// versions, since a component may mix them. What a guest may do with them is decided by its
    /// `WasiCtx`.
    fn new(wasmtime: wasmtime::Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&wasmtime);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        // Once more for streams: these need the guest's handles only, and not what else WASI has.
        linker.allow_shadowing(true);
        wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
        filesystem::add_to_linker_02(&mut linker)?;
        linker.allow_shadowing(false);
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        incoming_body::add_to_linker(&mut linker)?;
        if wasmtime.get_concurrency_support() {
            wasmtime_wasi::p3::add_to_linker(&mut linker)?;
            wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
            linker.allow_shadowing(true);
            filesystem::add_to_linker_03(&mut linker)?;
            linker.allow_shadowing(false);
        }
        Ok(Self { wasmtime, linker })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;
    use wasmtime::{Module, Store};

    fn pooled(instances: u32, concurrent: bool) -> PoolingAllocationConfig {
        match pool(instances, concurrent) {
            InstanceAllocationStrategy::Pooling(pool) => pool,
            _ => panic!("it is not a pool"),
        }
    }

    #[test]
    fn the_pool_has_what_as_many_instances_need_as_there_may_be() {
        for instances in [1, 16, 1000, 20_000] {
            for concurrent in [false, true] {
                let pool = pooled(instances, concurrent);
                assert_eq!(pool.get_total_gc_heaps(), instances);
                // One memory of each is its heap for references.
                let memories = instances * (MEMORIES_PER_COMPONENT + 1);
                assert!(pool.get_total_memories() >= memories);
                assert!(pool.get_total_tables() >= instances * TABLES_PER_COMPONENT);
                let stacks = if concurrent { STACKS_PER_COMPONENT } else { 1 };
                assert!(pool.get_total_stacks() >= instances * stacks);
            }
        }
    }

    #[test]
    fn a_component_that_counts_for_all_instances_leaves_others_what_they_need() {
        // One of them counts for as much as its application may have, which may be less than it takes.
        let pool = pooled(16, true);
        assert!(pool.get_total_stacks() >= MOST_STACKS + 16 / 4 * STACKS_PER_COMPONENT);
        assert!(pool.get_total_tables() >= MOST_TABLES + 16 / 4 * TABLES_PER_COMPONENT);
        assert!(pool.get_total_memories() >= MOST_MEMORIES + 16 / 4 * MEMORIES_PER_COMPONENT);
    }

    #[test]
    fn a_guest_that_meets_the_limit_of_the_pool_meets_a_busy_server() {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(1).total_core_instances(10);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = wasmtime::Engine::new(&config).unwrap();
        let module = wat::parse_str("(module (memory 1))").unwrap();
        let module = Module::from_binary(&engine, &module).unwrap();
        let mut store = Store::new(&engine, ());
        wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let error = wasmtime::Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(matches!(Failure::of_guest(error), Failure::Busy));
    }
}

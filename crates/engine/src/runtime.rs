use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::epoch::Ticker;
use crate::guest::Guest;
use crate::limits::MemoryBudget;
use crate::machine;

/// How long a request waits for an instance when all are busy.
pub(crate) const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// Core instances of one component, on average: the program, adapters and shims around it.
const CORE_INSTANCES_PER_COMPONENT: u32 = 8;

/// Tables and memories of one component, on average.
const TABLES_PER_COMPONENT: u32 = 4;
const MEMORIES_PER_COMPONENT: u32 = 2;

/// Elements that a table may have. Only address space is reserved for them.
const TABLE_ELEMENTS: usize = 200_000;

/// What an [`Engine`] is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests in progress over all applications, each with its instance. Default: 1000.
    pub instances: u32,
    /// Memory of all instances together, in bytes. Default: three quarters of the machine's (or
    /// the cgroup's, where that is less), 4 GiB where that cannot be told.
    pub memory: u64,
}

impl Default for Options {
    fn default() -> Self {
        let memory = machine::memory().map_or(4 << 30, |bytes| bytes / 4 * 3);
        Self {
            instances: 1000,
            memory,
        }
    }
}

/// The Wasmtime engine with its instance pool, its linker and its clock: what all applications of
/// a process share.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasmtime: wasmtime::Engine,
    linker: Linker<Guest>,
    ticker: Ticker,
    memory: Arc<MemoryBudget>,
    instances: Arc<Semaphore>,
    /// Places to wait for one of them.
    queue: Arc<Semaphore>,
    total: u32,
    pooled: bool,
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
    /// Where the address space does not suffice for the pool, half as many instances are tried,
    /// and so on; below 16 instances are allocated one by one, which is slower, and the log warns.
    ///
    /// # Errors
    ///
    /// When the machine lacks what Wasmtime needs.
    pub fn new(options: &Options) -> Result<Self, EngineError> {
        let (wasmtime, total, pooled) = allocate(options.instances.max(1))?;
        let linker = link(&wasmtime).map_err(EngineError::Wasmtime)?;
        let ticker = Ticker::start(wasmtime.weak())?;
        Ok(Self(Arc::new(Inner {
            wasmtime,
            linker,
            ticker,
            memory: MemoryBudget::new(options.memory),
            instances: Arc::new(Semaphore::new(total as usize)),
            queue: Arc::new(Semaphore::new(total as usize)),
            total,
            pooled,
        })))
    }

    /// Instances that may exist at a time.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.0.total
    }

    /// Whether instances come from a pool. If not, each costs several system calls.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }

    /// Whether one more request would have its instance at once.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.instances.available_permits() > 0
    }

    /// Waits until no instance is left, of any application. New requests wait meanwhile.
    pub async fn idle(&self) {
        // The semaphore is never closed, so that both outcomes mean the same.
        drop(self.0.instances.acquire_many(self.0.total).await);
    }

    /// The right to have one instance, as soon as one is free; `None` when that takes longer than
    /// [`QUEUE_WAIT`], or as many wait already as there are instances.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let instances = &self.0.instances;
        if let Ok(permit) = Arc::clone(instances).try_acquire_owned() {
            return Some(permit);
        }
        let _place = Arc::clone(&self.0.queue).try_acquire_owned().ok()?;
        let turn = Arc::clone(instances).acquire_owned();
        tokio::time::timeout(QUEUE_WAIT, turn).await.ok()?.ok()
    }

    /// Wasmtime's own engine, which compiled components belong to.
    #[must_use]
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    pub(crate) fn linker(&self) -> &Linker<Guest> {
        &self.0.linker
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }

    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.0.memory
    }
}

fn allocate(instances: u32) -> Result<(wasmtime::Engine, u32, bool), EngineError> {
    let mut size = instances;
    while size >= 16.min(instances) {
        match wasmtime::Engine::new(config().allocation_strategy(pool(size))) {
            Ok(engine) => {
                if size < instances {
                    tracing::warn!(
                        "the address space suffices for a pool of {size} instances, not {instances}"
                    );
                }
                return Ok((engine, size, true));
            }
            Err(error) => tracing::debug!("no pool of {size} instances: {error:#}"),
        }
        size /= 2;
    }
    tracing::warn!("no instance pool on this machine: instances are allocated one by one");
    let strategy = InstanceAllocationStrategy::OnDemand;
    let engine = wasmtime::Engine::new(config().allocation_strategy(strategy))
        .map_err(EngineError::Wasmtime)?;
    Ok((engine, instances, false))
}

fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    // Nothing here runs the guests of WASI 0.3 yet, and their bookkeeping is not free.
    config.concurrency_support(false);
    // A backtrace names the guest's functions, which is what its author needs of a trap.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

fn pool(instances: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_tables(instances.saturating_mul(TABLES_PER_COMPONENT))
        .total_memories(instances.saturating_mul(MEMORIES_PER_COMPONENT))
        .table_elements(TABLE_ELEMENTS)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .max_tables_per_module(16)
        .max_memories_per_module(16);
    // Keeping pages resident pays only where the kernel tells which of them were written.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

fn link(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    // All of WASI 0.2 is linked, since the standard libraries of most languages import files
    // and the environment, whether a program uses them or not. What a guest may do with them is
    // decided by its `WasiCtx`.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}

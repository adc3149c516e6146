use std::io;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::epoch::Ticker;
use crate::gate::Gate;
use crate::guest::Guest;
use crate::idle::Idle;
use crate::limits::MemoryBudget;
use crate::machine;

/// Memory of the machine for which one more instance may exist.
const MEMORY_PER_INSTANCE: u64 = 16 << 20;

/// Bounds of the default number of instances.
const LEAST_INSTANCES: u64 = 16;
const MOST_INSTANCES: u64 = 1000;

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
    /// Instances at a time, over all applications. Default: one for each 16 MiB of `memory`, at
    /// least 16 and at most 1000.
    pub instances: u32,
    /// Memory of all instances together, in bytes. Default: three quarters of the machine's (or
    /// the cgroup's, where that is less), 4 GiB where that cannot be told.
    pub memory: u64,
}

impl Default for Options {
    fn default() -> Self {
        let memory = machine::memory().map_or(4 << 30, |bytes| bytes / 4 * 3);
        let instances = (memory / MEMORY_PER_INSTANCE).clamp(LEAST_INSTANCES, MOST_INSTANCES);
        Self {
            instances: instances as u32,
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
    instances: Gate,
    idle: Idle,
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
            instances: Gate::new(total),
            idle: Idle::default(),
            pooled,
        })))
    }

    /// Instances that may exist at a time.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.0.instances.total()
    }

    /// Whether instances come from a pool. If not, each costs several system calls.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }

    /// Waits until no instance is left, of any application. New requests wait meanwhile.
    pub async fn idle(&self) {
        self.0.idle.close();
        self.0.instances.empty().await;
    }

    /// Whether one more instance could be made at once.
    pub(crate) fn has_room(&self) -> bool {
        self.0.instances.has_room() || !self.0.idle.is_empty()
    }

    /// The right to have one more instance, as soon as there may be one; `None` when that takes too
    /// long. Instances that only wait for their next request make room.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let instances = &self.0.instances;
        loop {
            if let Some(permit) = instances.try_enter() {
                return Some(permit);
            }
            if !self.0.idle.evict() {
                return instances.enter().await;
            }
        }
    }

    pub(crate) fn idle_instances(&self) -> &Idle {
        &self.0.idle
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
    // All of WASI is linked, in both versions, since a component may mix them, and since the standard libraries of most languages import files
    // and the environment, whether a program uses them or not. What a guest may do with them is
    // decided by its `WasiCtx`.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}

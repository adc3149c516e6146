//! Wasmtime's pooling allocator: its size, and the configuration of the two Wasmtime engines. How many
//! instances each application gets is not decided here.

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::engine::code_memory::CodeMemory;

/// Tables, memories and stacks of an instance of usual size. One that has more counts for several.
pub(crate) const TABLES_PER_COMPONENT: u32 = 4;
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 2;
pub(crate) const STACKS_PER_COMPONENT: u32 = 2;

/// The most of each that one component may have, so that none can take the whole pool. Components of many small
/// modules, like interpreters, have some dozens.
const MOST_CORE_INSTANCES: u32 = 256;
const MOST_TABLES: u32 = 64;
const MOST_MEMORIES: u32 = 16;
pub(crate) const MOST_STACKS: u32 = 64;

/// Elements that a table may have. Only address space is reserved for them.
const TABLE_ELEMENTS: usize = 200_000;

/// Two Wasmtime engines, without and with concurrent tasks, whose pools have room for `instances` each, or for
/// fewer if the address space is too small. Also returns for how many, and whether there is a pool at all.
pub(super) fn allocate(
    instances: u32,
    code_memory: Option<&CodeMemory>,
) -> wasmtime::Result<([wasmtime::Engine; 2], u32, bool)> {
    let mut size = instances;
    while size >= 16.min(instances) {
        match engines(|concurrent| pool(size, concurrent), code_memory) {
            Ok(engines) => {
                if size < instances {
                    tracing::warn!(
                        "the address space is too small for a pool of {instances} instances; at most {size} \
                         will run at a time"
                    );
                }
                return Ok((engines, size, true));
            }
            Err(error) => {
                tracing::debug!("cannot reserve a pool of {size} instances: {error:#}");
            }
        }
        // In small steps, to use most of the address space that there is.
        size -= size.div_ceil(4);
    }
    tracing::warn!(
        "cannot reserve an instance pool on this machine; allocating instances one by one, which is slower"
    );
    let engines = engines(|_| InstanceAllocationStrategy::OnDemand, code_memory);
    Ok((engines?, instances, false))
}

fn engines(
    allocation: impl Fn(bool) -> InstanceAllocationStrategy,
    code_memory: Option<&CodeMemory>,
) -> wasmtime::Result<[wasmtime::Engine; 2]> {
    let engine = |concurrent| {
        let mut config = Config::new();
        config.epoch_interruption(true);
        // Backtraces name functions without this. It adds lines of source files, whose debug information is large.
        config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
        config.concurrency_support(concurrent);
        config.allocation_strategy(allocation(concurrent));
        config.with_custom_code_memory(code_memory.map(CodeMemory::hook));
        wasmtime::Engine::new(&config)
    };
    Ok([engine(false)?, engine(true)?])
}

/// A pool for so many instances of usual size. Each may have a heap for references, which takes a memory that
/// Wasmtime does not count among those of its component. There is room for one more instance of the largest size:
/// an instance counts for no more slots than its application may have, even if it takes more from the pool.
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
    // Keeping pages resident pays off only where the kernel can report which of them were written.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10);
    }
    InstanceAllocationStrategy::Pooling(pool)
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
    fn the_pool_has_room_for_all_instances() {
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
    fn the_pool_has_room_for_others_beside_the_largest_component() {
        // One of them counts for as much as its application may have, which may be less than it takes.
        let pool = pooled(16, true);
        assert!(pool.get_total_stacks() >= MOST_STACKS + 16 / 4 * STACKS_PER_COMPONENT);
        assert!(pool.get_total_tables() >= MOST_TABLES + 16 / 4 * TABLES_PER_COMPONENT);
        assert!(pool.get_total_memories() >= MOST_MEMORIES + 16 / 4 * MEMORIES_PER_COMPONENT);
    }

    #[test]
    fn a_guest_at_a_limit_of_the_pool_is_a_busy_failure() {
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

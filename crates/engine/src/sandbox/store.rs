//! The order in which a store is destroyed: its memories before the account that counts them.

use std::ops::{Deref, DerefMut};

use wasmtime::Store;

/// A store whose memories are freed before the memory account in its data gives them back. (A [`Store`] by itself
/// drops its data first, and another instance could then be given memory that is still in use.)
pub(super) struct AccountedStore<T: 'static>(Option<Store<T>>);

impl<T> AccountedStore<T> {
    pub(super) fn new(store: Store<T>) -> Self {
        Self(Some(store))
    }
}

impl<T> Deref for AccountedStore<T> {
    type Target = Store<T>;

    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref(&self) -> &Store<T> {
        self.0.as_ref().expect("the store is there")
    }
}

impl<T> DerefMut for AccountedStore<T> {
    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref_mut(&mut self) -> &mut Store<T> {
        self.0.as_mut().expect("the store is there")
    }
}

impl<T> Drop for AccountedStore<T> {
    fn drop(&mut self) {
        if let Some(store) = self.0.take() {
            drop(store.into_data());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn memories_are_freed_before_the_account_is() {
        /// Notes how many memories there are when it is dropped.
        struct Account(wasmtime::Engine, Arc<AtomicUsize>);
        impl Drop for Account {
            fn drop(&mut self) {
                let Self(engine, left) = self;
                let pool = engine.pooling_allocator_metrics().unwrap();
                left.store(pool.memories(), Ordering::SeqCst);
            }
        }
        let mut config = wasmtime::Config::new();
        let mut pool = wasmtime::PoolingAllocationConfig::new();
        pool.total_memories(1).max_memory_size(1 << 16);
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
        let engine = wasmtime::Engine::new(&config).unwrap();
        let module = wat::parse_str("(module (memory 1))").unwrap();
        let module = wasmtime::Module::new(&engine, module).unwrap();
        let left = Arc::new(AtomicUsize::new(7));
        let account = Account(engine.clone(), Arc::clone(&left));
        let mut store = AccountedStore::new(Store::new(&engine, account));
        wasmtime::Instance::new(&mut *store, &module, &[]).unwrap();
        let pool = engine.pooling_allocator_metrics().unwrap();
        assert_eq!((pool.memories(), left.load(Ordering::SeqCst)), (1, 7));
        drop(store);
        assert_eq!(left.load(Ordering::SeqCst), 0);
    }
}

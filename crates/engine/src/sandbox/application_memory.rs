//! The memory of all instances of an application, against the budget that all applications share. The limit of one
//! instance is the [`MemoryAccount`](crate::sandbox::memory::MemoryAccount)'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::budget::{Budget, CacheLine, Share};

/// The memory of all instances of one application, and how many instances there are.
#[derive(Debug)]
pub(crate) struct ApplicationMemory {
    share: Share,
    instances: CacheLine<InstanceCounts>,
    peak: AtomicU64,
    /// Bytes that the last instance had when it had started.
    initial: AtomicU64,
}

#[derive(Debug, Default)]
struct InstanceCounts {
    started: AtomicU64,
    gone: AtomicU64,
}

impl ApplicationMemory {
    pub(crate) fn new(memory: Arc<Budget>, weight: u64) -> Arc<Self> {
        Arc::new(Self {
            share: Share::without_waiters(memory, weight),
            instances: CacheLine::default(),
            peak: AtomicU64::new(0),
            initial: AtomicU64::new(0),
        })
    }

    pub(crate) fn instances(&self) -> u64 {
        // The two are not read at one moment: saturating, since `gone` may be ahead.
        let gone = self.instances.gone.load(Ordering::Relaxed);
        self.instances_started().saturating_sub(gone)
    }

    pub(crate) fn instances_started(&self) -> u64 {
        self.instances.started.load(Ordering::Relaxed)
    }

    /// In bytes, as are the others.
    pub(crate) fn used(&self) -> u64 {
        self.share.used()
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether there is too little memory to keep an idle instance.
    pub(crate) fn is_scarce(&self) -> bool {
        self.share.is_scarce()
    }

    /// Takes so many bytes, if the application may have them.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        if !self.share.try_take(bytes) {
            return false;
        }
        let memory = self.share.used();
        // A load in most cases; the write to a shared cache line only at a new peak.
        if memory > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(memory, Ordering::Relaxed);
        }
        true
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.share.give_back(bytes);
        }
    }

    /// Notes what an instance has when it has started: the next one will need as much.
    pub(super) fn note_initial(&self, bytes: u64) {
        // It is nearly always the same, so that the shared cache line is not written to.
        if self.initial.load(Ordering::Relaxed) != bytes {
            self.initial.store(bytes, Ordering::Relaxed);
        }
    }

    /// What an instance is expected to have when it has started.
    pub(super) fn initial(&self) -> u64 {
        self.initial.load(Ordering::Relaxed)
    }

    pub(super) fn note_instance_started(&self) {
        self.instances.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_instance_gone(&self) {
        self.instances.gone.fetch_add(1, Ordering::Relaxed);
    }
}

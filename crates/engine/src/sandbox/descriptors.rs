//! File descriptors that guests use: open files and outgoing connections, per application and in all. What one
//! instance has open is in [`open_files`](crate::sandbox::open_files).

use std::any::Any;
use std::fs::File;
use std::sync::{Arc, Weak};

use outbound::ConnectionBudget;
use parking_lot::Mutex;

use crate::budget::{Budget, Share};

/// The descriptors of all guests.
#[derive(Debug)]
pub(crate) struct DescriptorBudget {
    budget: Arc<Budget>,
    /// Files of guests that are gone, still held open by a blocking operation.
    orphans: Mutex<Vec<OpenFile>>,
}

/// The descriptors of one application.
#[derive(Debug)]
pub(crate) struct Descriptors {
    all: Arc<DescriptorBudget>,
    share: Share,
}

/// A permit for one descriptor of the process.
#[derive(Debug)]
pub(crate) struct DescriptorPermit {
    of: Arc<Descriptors>,
    /// Counts it for its instance, where it belongs to one.
    _instance: Option<Arc<()>>,
}

/// A file of a guest. It stays open as long as anything holds it: its handle, a stream, or an operation in
/// progress.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: Weak<File>,
    _permit: DescriptorPermit,
}

impl DescriptorBudget {
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            orphans: Mutex::default(),
        })
    }

    pub(crate) fn used(&self) -> u64 {
        self.prune();
        self.budget.used()
    }

    pub(crate) fn limit(&self) -> u64 {
        self.budget.limit()
    }

    /// Removes files that have been closed. Whether there were any.
    fn prune(&self) -> bool {
        let closed: Vec<_> = {
            let mut orphans = self.orphans.lock();
            orphans.extract_if(.., |it| it.is_closed()).collect()
        };
        !closed.is_empty()
    }
}

impl Descriptors {
    pub(crate) fn new(all: Arc<DescriptorBudget>, weight: u64) -> Arc<Self> {
        let share = Share::without_waiters(Arc::clone(&all.budget), weight);
        Arc::new(Self { all, share })
    }

    /// Open files and outgoing connections of the application.
    pub(crate) fn used(&self) -> u64 {
        self.all.prune();
        self.share.used()
    }

    /// A permit for one more descriptor, if the application may have it.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<DescriptorPermit> {
        self.try_take().then(|| DescriptorPermit {
            of: Arc::clone(self),
            _instance: None,
        })
    }

    /// The same, counted for an instance as well: by the references to `instance`.
    pub(super) fn try_acquire_for(
        self: &Arc<Self>,
        instance: &Arc<()>,
    ) -> Option<DescriptorPermit> {
        self.try_take().then(|| DescriptorPermit {
            of: Arc::clone(self),
            _instance: Some(Arc::clone(instance)),
        })
    }

    /// Keeps counting those of these files that are still open, until they are closed. Their owner has dropped
    /// them.
    pub(crate) fn orphan(&self, mut files: Vec<OpenFile>) {
        files.retain(|it| !it.is_closed());
        if !files.is_empty() {
            self.all.orphans.lock().extend(files);
        }
    }

    fn try_take(&self) -> bool {
        self.share.try_take(1) || (self.all.prune() && self.share.try_take(1))
    }
}

impl ConnectionBudget for Descriptors {
    fn try_acquire(self: Arc<Self>) -> Option<Box<dyn Any + Send + Sync>> {
        let permit: DescriptorPermit = Self::try_acquire(&self)?;
        Some(Box::new(permit))
    }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        self.of.share.give_back(1);
    }
}

impl OpenFile {
    /// Counts a file until it is closed.
    pub(crate) fn new(file: &Arc<File>, permit: DescriptorPermit) -> Self {
        Self {
            file: Arc::downgrade(file),
            _permit: permit,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.file.strong_count() == 0
    }
}

//! Open files and outgoing connections of guests: what each of them costs the process a descriptor for.

use std::any::Any;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use outbound::ConnectionBudget;

use crate::budget::{Budget, Share};
use crate::sandbox::memory::Holdings;

/// The descriptors that all guests may have.
#[derive(Debug)]
pub(crate) struct DescriptorBudget {
    budget: Arc<Budget>,
    /// Files whose owner is gone, and which an operation that blocks still has open.
    left: Mutex<Vec<OpenFile>>,
}

/// The descriptors that one application has.
#[derive(Debug)]
pub(crate) struct Descriptors {
    all: Arc<DescriptorBudget>,
    share: Share,
}

/// The right to one descriptor of the process.
#[derive(Debug)]
pub(crate) struct DescriptorPermit {
    of: Arc<Descriptors>,
    /// Of the instance that counts it, if one does.
    _instance: Option<Arc<()>>,
}

/// A file of a guest's. It is open as long as anything holds it: its handle, a stream, or an operation
/// in progress.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: Weak<File>,
    _permit: DescriptorPermit,
}

impl DescriptorBudget {
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            left: Mutex::default(),
        })
    }

    pub(crate) fn used(&self) -> u64 {
        self.prune();
        self.budget.used()
    }

    pub(crate) fn limit(&self) -> u64 {
        self.budget.limit()
    }

    /// Forgets files that have been closed since. Whether there were any.
    fn prune(&self) -> bool {
        let closed: Vec<_> = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.extract_if(.., |it| it.is_closed()).collect()
        };
        !closed.is_empty()
    }
}

impl Descriptors {
    pub(crate) fn new(all: Arc<DescriptorBudget>, weight: u64) -> Arc<Self> {
        let share = Share::without_waiters(Arc::clone(&all.budget), weight);
        Arc::new(Self { all, share })
    }

    /// Open files and outgoing connections.
    pub(crate) fn used(&self) -> u64 {
        self.all.prune();
        self.share.used()
    }

    /// The right to one more, if the application may have it.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<DescriptorPermit> {
        self.try_take().then(|| DescriptorPermit {
            of: Arc::clone(self),
            _instance: None,
        })
    }

    /// Counts those of these files that are still open until they are closed. Their owner has dropped them.
    pub(crate) fn leave(&self, mut files: Vec<OpenFile>) {
        files.retain(|it| !it.is_closed());
        if !files.is_empty() {
            let left = &self.all.left;
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            left.extend(files);
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

    fn is_closed(&self) -> bool {
        self.file.strong_count() == 0
    }
}

/// The files that one instance has open, and what its listings of folders may take. To be dropped after the
/// handles themselves.
pub(crate) struct OpenFiles {
    holdings: Arc<Holdings>,
    open: Vec<OpenFile>,
    limit: usize,
    /// Each permit of this instance holds it, those of files that are being opened as well.
    instance: Arc<()>,
    listings: Arc<Listings>,
}

impl OpenFiles {
    /// For one instance: so many files, and so many bytes of listings.
    pub(crate) fn new(holdings: Arc<Holdings>, limit: u32, memory: u64) -> Self {
        Self {
            open: Vec::new(),
            limit: limit as usize,
            instance: Arc::new(()),
            listings: Listings::new(Arc::clone(&holdings), memory),
            holdings,
        }
    }

    /// The right to open one more file; `None` at the instance's limit or the application's.
    pub(crate) fn reserve(&mut self) -> Option<DescriptorPermit> {
        self.prune();
        let application = self.holdings.descriptors();
        if self.count() >= self.limit || !application.try_take() {
            return None;
        }
        Some(DescriptorPermit {
            of: Arc::clone(application),
            _instance: Some(Arc::clone(&self.instance)),
        })
    }

    /// Counts a file from now on until it is closed.
    pub(crate) fn opened(&mut self, file: &Arc<File>, permit: DescriptorPermit) {
        self.open.push(OpenFile::new(file, permit));
    }

    /// Forgets the files that have been closed since.
    pub(crate) fn prune(&mut self) {
        self.open.retain(|it| !it.is_closed());
    }

    /// For a listing that begins.
    pub(crate) fn list(&self) -> ListingMemory {
        ListingMemory {
            of: Arc::clone(&self.listings),
            bytes: 0,
        }
    }

    fn count(&self) -> usize {
        Arc::strong_count(&self.instance) - 1
    }
}

impl Drop for OpenFiles {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.holdings.descriptors().leave(open);
    }
}

/// The listings of folders that one instance has, in the host's memory. They count as its
/// application's memory, and each instance may have as much of them as of memory.
#[derive(Debug)]
struct Listings {
    holdings: Arc<Holdings>,
    used: AtomicU64,
    limit: u64,
}

impl Listings {
    fn new(holdings: Arc<Holdings>, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            holdings,
            used: AtomicU64::new(0),
            limit,
        })
    }
}

/// The memory of one listing.
#[derive(Debug)]
pub(crate) struct ListingMemory {
    of: Arc<Listings>,
    bytes: u64,
}

impl ListingMemory {
    /// Takes so many bytes more; `false` when there are no more for it.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let used = self.of.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.of.limit || !self.of.holdings.take(bytes) {
            self.of.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for ListingMemory {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.holdings.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(descriptors: u64) -> Arc<DescriptorBudget> {
        DescriptorBudget::new(Budget::fair(descriptors))
    }

    fn holdings(descriptors: &Arc<DescriptorBudget>) -> Arc<Holdings> {
        let descriptors = Descriptors::new(Arc::clone(descriptors), 1);
        Holdings::new(Budget::fair(1000), descriptors, 1)
    }

    fn instance(holdings: &Arc<Holdings>, limit: u32) -> OpenFiles {
        OpenFiles::new(Arc::clone(holdings), limit, 100)
    }

    fn open(files: &mut OpenFiles) -> Option<Arc<File>> {
        let permit = files.reserve()?;
        let file = Arc::new(tempfile::tempfile().unwrap());
        files.opened(&file, permit);
        Some(file)
    }

    #[test]
    fn an_instance_opens_as_many_files_as_its_limit_and_again_after_closing() {
        let holdings = holdings(&budget(100));
        let mut files = instance(&holdings, 2);
        let first = open(&mut files).unwrap();
        let being_opened = files.reserve().unwrap();
        assert!(open(&mut files).is_none());
        drop(being_opened);
        let second = open(&mut files).unwrap();
        let stream = Arc::clone(&first);
        drop(first);
        // A stream of it is left.
        assert!(open(&mut files).is_none());
        drop(stream);
        let third = open(&mut files).unwrap();
        assert_eq!(holdings.descriptors().used(), 2);
        drop((second, third, files));
        assert_eq!(holdings.descriptors().used(), 0);
    }

    #[test]
    fn files_that_outlive_their_instance_count_until_they_are_closed() {
        let holdings = holdings(&budget(1));
        let mut files = instance(&holdings, 8);
        let blocked = open(&mut files).unwrap();
        drop(files);
        assert_eq!(holdings.descriptors().used(), 1);
        let mut files = instance(&holdings, 8);
        assert!(open(&mut files).is_none());
        drop(blocked);
        assert!(open(&mut files).is_some());
    }

    #[test]
    fn applications_share_the_descriptors_of_the_process() {
        let budget = budget(100);
        let (greedy, other) = (holdings(&budget), holdings(&budget));
        let acquire = || greedy.descriptors().try_acquire();
        let connections: Vec<_> = std::iter::from_fn(acquire).collect();
        assert_eq!(connections.len(), 75);
        assert!(instance(&greedy, 64).reserve().is_none());
        let mut files = instance(&other, 64);
        let open: Vec<_> = std::iter::from_fn(|| open(&mut files)).take(10).collect();
        assert_eq!(open.len(), 10);
    }

    #[test]
    fn listings_count_as_memory_and_have_the_limit_of_an_instance() {
        let holdings = holdings(&budget(1));
        let files = instance(&holdings, 1);
        let mut first = files.list();
        assert!(first.grow(60));
        assert!(!files.list().grow(41));
        assert_eq!(holdings.memory(), 60);
        drop(first);
        assert_eq!(holdings.memory(), 0);
        assert!(files.list().grow(100));
    }
}

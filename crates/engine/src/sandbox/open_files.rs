//! The files that one instance has open, and the memory of its folder listings: both against its own limits and
//! those of its application. The permits themselves are in [`descriptors`](crate::sandbox::descriptors).

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sandbox::application_memory::ApplicationMemory;
use crate::sandbox::descriptors::{DescriptorPermit, Descriptors, OpenFile};

/// The files that one instance has open, and the memory of its folder listings. To be dropped after the handles
/// themselves, which hold the files open.
pub(crate) struct OpenFiles {
    descriptors: Arc<Descriptors>,
    open: Vec<OpenFile>,
    limit: usize,
    /// Each permit of this instance has a reference, also while its file is being opened. So the number of
    /// references is that of files.
    instance: Arc<()>,
    listings: Arc<Listings>,
}

impl OpenFiles {
    /// For one instance: `limit` files, and `listings` bytes of folder listings.
    pub(crate) fn new(
        descriptors: Arc<Descriptors>,
        memory: Arc<ApplicationMemory>,
        limit: u32,
        listings: u64,
    ) -> Self {
        Self {
            open: Vec::new(),
            limit: limit as usize,
            instance: Arc::new(()),
            listings: Listings::new(memory, listings),
            descriptors,
        }
    }

    /// A permit to open one more file; `None` at the limit of the instance or of the application.
    pub(crate) fn reserve(&mut self) -> Option<DescriptorPermit> {
        self.prune();
        if self.count() >= self.limit {
            return None;
        }
        self.descriptors.try_acquire_for(&self.instance)
    }

    /// Counts a file until it is closed.
    pub(crate) fn opened(&mut self, file: &Arc<File>, permit: DescriptorPermit) {
        self.open.push(OpenFile::new(file, permit));
    }

    /// Removes files that have been closed.
    pub(crate) fn prune(&mut self) {
        self.open.retain(|it| !it.is_closed());
    }

    /// Begins to count the memory of one listing.
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
        self.descriptors.orphan(open);
    }
}

/// The folder listings of one instance, in the host's memory. They count as memory of its application. The
/// limit of each instance is the one for its linear memory.
#[derive(Debug)]
struct Listings {
    memory: Arc<ApplicationMemory>,
    used: AtomicU64,
    limit: u64,
}

impl Listings {
    fn new(memory: Arc<ApplicationMemory>, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            memory,
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
    /// Takes so many more bytes; `false` at a limit of the instance or of the application.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let used = self.of.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.of.limit || !self.of.memory.take(bytes) {
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
        self.of.memory.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::sandbox::descriptors::DescriptorBudget;

    fn budget(descriptors: u64) -> Arc<DescriptorBudget> {
        DescriptorBudget::new(Budget::fair(descriptors))
    }

    fn application(all: &Arc<DescriptorBudget>) -> Arc<Descriptors> {
        Descriptors::new(Arc::clone(all), 1)
    }

    fn memory() -> Arc<ApplicationMemory> {
        ApplicationMemory::new(Budget::fair(1000), 1)
    }

    fn instance(application: &Arc<Descriptors>, limit: u32) -> OpenFiles {
        OpenFiles::new(Arc::clone(application), memory(), limit, 100)
    }

    fn open(files: &mut OpenFiles) -> Option<Arc<File>> {
        let permit = files.reserve()?;
        let file = Arc::new(tempfile::tempfile().unwrap());
        files.opened(&file, permit);
        Some(file)
    }

    #[test]
    fn an_instance_opens_as_many_files_as_its_limit_and_again_after_closing() {
        let application = application(&budget(100));
        let mut files = instance(&application, 2);
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
        assert_eq!(application.used(), 2);
        drop((second, third, files));
        assert_eq!(application.used(), 0);
    }

    #[test]
    fn files_that_outlive_their_instance_count_until_they_are_closed() {
        let application = application(&budget(1));
        let mut files = instance(&application, 8);
        let blocked = open(&mut files).unwrap();
        drop(files);
        assert_eq!(application.used(), 1);
        let mut files = instance(&application, 8);
        assert!(open(&mut files).is_none());
        drop(blocked);
        assert!(open(&mut files).is_some());
    }

    #[test]
    fn applications_share_the_descriptors_of_the_process() {
        let budget = budget(100);
        let (greedy, other) = (application(&budget), application(&budget));
        let acquire = || greedy.try_acquire();
        let connections: Vec<_> = std::iter::from_fn(acquire).collect();
        assert_eq!(connections.len(), 75);
        assert!(instance(&greedy, 64).reserve().is_none());
        let mut files = instance(&other, 64);
        let open: Vec<_> = std::iter::from_fn(|| open(&mut files)).take(10).collect();
        assert_eq!(open.len(), 10);
    }

    #[test]
    fn listings_count_as_memory_and_have_the_limit_of_an_instance() {
        let memory = memory();
        let application = application(&budget(1));
        let files = OpenFiles::new(application, Arc::clone(&memory), 1, 100);
        let mut first = files.list();
        assert!(first.grow(60));
        assert!(!files.list().grow(41));
        assert_eq!(memory.used(), 60);
        drop(first);
        assert_eq!(memory.used(), 0);
        assert!(files.list().grow(100));
    }
}

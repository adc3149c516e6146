//! Counts the files that responses have open. It closes none.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::NotServed;

/// Files that one lookup has open at the same time, at most: the folder of `chroot`, a file, and its
/// precompressed sibling.
const LOOKUP: usize = 3;

/// A limit on the files that responses have open at the same time, of all shares that have it.
///
/// It counts what a client decides about, and what a disk does: files that are larger than what is read at once,
/// until their response is over, and lookups on threads that may wait. A small file that is in the page cache is
/// not counted, as it is closed before anything else is done on its thread.
///
/// Cloning is cheap, and makes no other limit.
#[derive(Clone, Debug)]
pub struct OpenFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    open: AtomicUsize,
}

/// The right to have some files open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    of: Arc<Inner>,
    files: usize,
}

/// A file, and what it counts by if it is counted. They stay together wherever it is read.
pub(crate) struct CountedFile {
    pub(crate) file: File,
    pub(crate) permit: Option<Permit>,
}

impl OpenFiles {
    /// At most so many files; at least as many as one lookup takes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit: limit.max(LOOKUP),
            open: AtomicUsize::new(0),
        }))
    }

    /// How many may be open.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Relaxed)
    }

    /// Leave to have a file open for as long as its response takes.
    pub(crate) fn permit(&self) -> Result<Permit, NotServed> {
        self.permit_for(1)
    }

    /// Leave to look a file up.
    pub(crate) fn permit_lookup(&self) -> Result<Permit, NotServed> {
        self.permit_for(LOOKUP)
    }

    fn permit_for(&self, files: usize) -> Result<Permit, NotServed> {
        let more = |open: usize| {
            let open = open + files;
            (open <= self.0.limit).then_some(open)
        };
        match self.0.open.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(Permit {
                of: Arc::clone(&self.0),
                files,
            }),
            Err(_) => Err(NotServed::TooManyOpen),
        }
    }
}

impl Permit {
    /// The lookup is over, with one file.
    pub(crate) fn reduce_to_one(&mut self) {
        self.of.open.fetch_sub(self.files - 1, Relaxed);
        self.files = 1;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.open.fetch_sub(self.files, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_files_are_open_than_the_limit() {
        let files = OpenFiles::new(5);
        let mut lookup = files.permit_lookup().unwrap();
        assert!(files.permit_lookup().is_err());
        let one = files.permit().unwrap();
        let _two = files.permit().unwrap();
        assert!(files.permit().is_err());
        assert_eq!(files.open(), 5);
        lookup.reduce_to_one();
        assert_eq!(files.open(), 3);
        drop((lookup, one));
        assert_eq!(files.open(), 1);
        assert!(files.clone().permit_lookup().is_ok());
        assert_eq!(files.open(), 1);
    }
}

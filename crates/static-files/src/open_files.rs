//! The limit on files that responses have open. Only counts: files are closed by their owners.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::NotServed;

/// Files that one lookup has open at the same time, at most: the folder of `chroot`, a file, and its
/// precompressed sibling.
const LOOKUP: usize = 3;

/// A limit on the files that responses have open at the same time, shared by its clones.
///
/// Counted are files that a slow client or a slow disk can keep open: those larger than one read, until their
/// response ends, and lookups on the blocking pool. Small files in the page cache are not counted, since they are
/// closed at once.
#[derive(Clone, Debug)]
pub struct OpenFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    open: AtomicUsize,
}

/// The permission to have some files open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    of: Arc<Inner>,
    files: usize,
}

/// A file with its permit, if it is counted, so that both are dropped together.
pub(crate) struct CountedFile {
    pub(crate) file: File,
    pub(crate) permit: Option<Permit>,
}

impl OpenFiles {
    /// A limit of this number, but at least of the files of one lookup.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit: limit.max(LOOKUP),
            open: AtomicUsize::new(0),
        }))
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// The number of files that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Relaxed)
    }

    /// A permit for the file of one response.
    pub(crate) fn permit(&self) -> Result<Permit, NotServed> {
        self.permit_for(1)
    }

    /// A permit for one lookup.
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
    /// Returns all but one: the lookup has ended.
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

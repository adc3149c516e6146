//! When the first byte of a connection's next request came, if `$request_time` is used. HTTP/1 only: the
//! frames of HTTP/2 are hyper's to read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

#[derive(Default)]
pub(crate) struct FirstByte {
    /// Without it, a read costs no more than this look.
    is_wanted: AtomicBool,
    came: Mutex<Option<Instant>>,
}

impl FirstByte {
    /// Has reads noted from here on, or no longer.
    pub(crate) fn want(&self, is_wanted: bool) {
        if self.is_wanted.load(Ordering::Relaxed) != is_wanted {
            self.is_wanted.store(is_wanted, Ordering::Relaxed);
        }
    }

    /// Notes that something has been read while no request was in progress.
    pub(crate) fn note_read(&self) {
        if self.is_wanted() {
            self.came().get_or_insert_with(Instant::now);
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// When the request that begins now sent its first byte. `None` where that was not noted: it came
    /// together with the request before.
    pub(crate) fn take(&self) -> Option<Instant> {
        if self.is_wanted() {
            self.came().take()
        } else {
            None
        }
    }

    fn came(&self) -> MutexGuard<'_, Option<Instant>> {
        self.came.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_reads_counts_once() {
        let first = FirstByte::default();
        first.note_read();
        assert_eq!(first.take(), None);
        first.want(true);
        let before = Instant::now();
        first.note_read();
        let noted = Instant::now();
        first.note_read();
        let came = first.take().unwrap();
        assert!((before..=noted).contains(&came));
        assert_eq!(first.take(), None);
    }
}

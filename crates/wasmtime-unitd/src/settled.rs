//! Waiting for changes of files to come to an end.

use std::time::Duration;

/// How often files are looked at. A change is taken up after two looks that are equal, which is within a second.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After so many looks, half a minute, a version that changes each time is overdue. Not sooner: a folder that is copied
/// file by file is not complete while it changes.
pub(crate) const MAX_LOOKS: u32 = 120;

/// A version of something that is looked at again and again.
///
/// A version counts once two looks in a row have found it: a program that writes a file is seen several times, and only
/// its last version is worth reading.
#[derive(Debug)]
pub(crate) struct Settled<V> {
    /// The version that was taken up last.
    taken: V,
    /// Another version that the last look found.
    found: Option<V>,
    /// How many looks in a row have found other versions.
    looks: u32,
}

impl<V: PartialEq> Settled<V> {
    /// A version that is taken up already.
    pub(crate) fn new(taken: V) -> Self {
        Self {
            taken,
            found: None,
            looks: 0,
        }
    }

    /// What a look has found. Whether it is a new version that counts.
    pub(crate) fn look(&mut self, found: V) -> bool {
        if found == self.taken {
            self.found = None;
            self.looks = 0;
            return false;
        }
        self.looks = self.looks.saturating_add(1);
        if self.found.as_ref() == Some(&found) {
            return true;
        }
        self.found = Some(found);
        false
    }

    /// Whether the version has kept changing for so long that it should be read all the same.
    pub(crate) fn is_overdue(&self) -> bool {
        self.looks >= MAX_LOOKS
    }

    /// This version was taken up, whether it could be used or not.
    pub(crate) fn take(&mut self, version: V) {
        self.taken = version;
        self.found = None;
        self.looks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_counts_when_it_is_found_twice_in_a_row() {
        let mut settled = Settled::new(1);
        assert!(!settled.look(1));
        assert!(!settled.look(2));
        assert!(!settled.look(3));
        assert!(settled.look(3));
        settled.take(3);
        assert!(!settled.look(3));
        // Back to what is taken up.
        assert!(!settled.look(4));
        assert!(!settled.look(3));
        assert!(!settled.look(4));
        assert!(settled.look(4));
    }

    #[test]
    fn a_version_that_never_comes_to_an_end_is_overdue() {
        let mut settled = Settled::new(0);
        for version in 1..120 {
            assert!(!settled.look(version) && !settled.is_overdue(), "{version}");
        }
        assert!(!settled.look(120) && settled.is_overdue());
        settled.take(120);
        assert!(!settled.is_overdue());
    }
}

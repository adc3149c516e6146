//! Waiting for changes of files to come to an end.

use std::time::Duration;

/// How often files are looked at. A change is taken up after two looks that are equal, which is within a second.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

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
}

impl<V: PartialEq> Settled<V> {
    /// A version that is taken up already.
    pub(crate) fn new(taken: V) -> Self {
        Self { taken, found: None }
    }

    /// What a look has found. Whether it is a new version that counts.
    pub(crate) fn look(&mut self, found: V) -> bool {
        if found == self.taken {
            self.found = None;
            return false;
        }
        if self.found.as_ref() == Some(&found) {
            return true;
        }
        self.found = Some(found);
        false
    }

    /// This version was taken up, whether it could be used or not.
    pub(crate) fn take(&mut self, version: V) {
        self.taken = version;
        self.found = None;
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
}

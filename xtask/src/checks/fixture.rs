//! Files of a tree that a check is to find faults in. For tests.

use std::fs;
use std::path::PathBuf;

/// A folder with files, removed when this is dropped.
pub(super) struct Fixture(tempfile::TempDir);

impl Fixture {
    /// Files by their paths within the folder.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = this.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        this
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
}

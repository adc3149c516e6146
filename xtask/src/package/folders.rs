//! Where packages go, and where what they are made of is built.

use std::path::{Path, PathBuf};

use crate::command::target;

/// Where packages of a kind go.
pub(super) fn packages(kind: &str) -> PathBuf {
    target().join("packages").join(kind)
}

/// Where cargo builds a profile, in the target folder or that of one target.
pub(super) fn build(folder: &Path, profile: &str) -> PathBuf {
    folder.join(if profile == "dev" { "debug" } else { profile })
}

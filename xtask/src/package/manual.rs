//! The man pages and completions of the daemon, which a test of it writes.

use std::path::PathBuf;

use anyhow::Result;

use super::folders;
use crate::command::{cargo, step};

/// Writes them, and says where.
///
/// # Errors
///
/// When the test does not build or fails.
pub(super) fn build() -> Result<PathBuf> {
    let folder = folders::packages("manual");
    let mut test = cargo();
    // Of all packages, since for one alone what it shares with the others would be built again.
    test.args(["test", "--quiet", "--bin", "wasmtime-unitd", "--"]);
    test.args([
        "--exact",
        "manual::man_pages_and_completions_have_every_flag",
    ]);
    step(
        "man pages and completions",
        test.env("MANUAL_FOLDER", &folder),
    )?;
    Ok(folder)
}

//! The daemon as `cargo test` builds it.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, step, target};

/// Builds the daemon, unless `cargo test` has built it, and gives its file.
///
/// `cargo build` selects other features of serde and tokio than `cargo test`, and would build Cranelift and Wasmtime
/// once more.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["test", "--no-run", "--test", "daemon"]);
    step("build of the daemon", &mut build)?;
    Ok(target().join("debug/wasmtime-unitd"))
}

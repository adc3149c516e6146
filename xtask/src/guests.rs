//! The guests of the benchmarks, and of the training run of a release.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, step, target};

/// Builds the guests, and gives the folders of those of WASI 0.2 and 0.3.
///
/// # Errors
///
/// When one does not build.
pub(crate) fn build() -> Result<[PathBuf; 2]> {
    let build = |package: &str| -> Result<PathBuf> {
        // Both have examples of the same names.
        let folder = target().join("bench").join(package);
        let mut guests = cargo();
        guests.args(["build", "--release", "--package", package, "--examples"]);
        guests.args(["--target", "wasm32-wasip2", "--target-dir"]);
        step(package, guests.arg(&folder))?;
        Ok(folder.join("wasm32-wasip2/release/examples"))
    };
    Ok([build("guests")?, build("guests-03")?])
}

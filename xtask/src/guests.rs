//! The guests of the benchmarks, of the training run of a release, and of the tests of operations, and the component of
//! the walkthrough.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, step, target};
use crate::toolchain;

/// Builds the guests, and gives the folders of those of WASI 0.2 and 0.3.
///
/// # Errors
///
/// When one does not build.
pub(crate) fn build() -> Result<[PathBuf; 2]> {
    let all = ["--examples"];
    Ok([examples("guests", &all)?, examples("guests-03", &all)?])
}

/// Builds the smallest guest of WASI 0.2 alone, and gives its file.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn hello() -> Result<PathBuf> {
    Ok(examples("guests", &["--example", "hello"])?.join("hello.wasm"))
}

fn examples(package: &str, which: &[&str]) -> Result<PathBuf> {
    // Both packages have examples of the same names.
    let folder = target().join("bench").join(package);
    let mut guests = cargo();
    guests.args(["build", "--release", "--package", package]);
    guests.args(which);
    guests.args(["--target", "wasm32-wasip2", "--target-dir"]);
    step(package, guests.arg(&folder))?;
    Ok(folder.join("wasm32-wasip2/release/examples"))
}

/// Builds the component of the walkthrough, and gives its file.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn example() -> Result<PathBuf> {
    toolchain::prepare()?;
    let mut build = cargo();
    build.args(["build", "--package", "example", "--release"]);
    step("example", build.args(["--target", "wasm32-wasip2"]))?;
    Ok(target().join("wasm32-wasip2/release/example.wasm"))
}

//! What the toolchain lacks, and how it gets it.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{root, run};

/// The targets that guests are built for, as in `rust-toolchain.toml`.
const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

/// Sees to it that guests can be built.
pub(crate) fn prepare() -> Result<()> {
    add_targets(&TARGETS)
}

/// Adds missing targets, which rustup does not do by itself where its automatic installation is switched off.
///
/// # Errors
///
/// When a target is missing and rustup cannot add it.
pub(crate) fn add_targets(targets: &[&str]) -> Result<()> {
    let sysroot = Command::new("rustc")
        .current_dir(root())
        .args(["--print", "sysroot"])
        .output()
        .context("cannot start rustc; install Rust from https://rustup.rs")?;
    if !sysroot.status.success() {
        bail!(
            "rustc fails: {}",
            String::from_utf8_lossy(&sysroot.stderr).trim()
        );
    }
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let libraries = std::path::Path::new(&sysroot).join("lib/rustlib");
    let missing: Vec<_> = targets
        .iter()
        .copied()
        .filter(|target| !libraries.join(target).is_dir())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("xtask: adding the targets {}", missing.join(", "));
    run(Command::new("rustup")
        .current_dir(root())
        .args(["target", "add"])
        .args(&missing))
    .with_context(|| {
        format!(
            "this Rust has no target {}, and rustup could not add it",
            missing.join(" and no target ")
        )
    })
}

/// Sees to it that there is a C compiler, which a few dependencies need.
pub(crate) fn require_c_compiler() -> Result<()> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let found = Command::new(&compiler).arg("--version").output().is_ok();
    if !found {
        bail!("no C compiler: `{compiler}` cannot be started; install gcc or clang, or set CC");
    }
    Ok(())
}

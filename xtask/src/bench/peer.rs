//! `wasmtime`, the command of the reference runtime.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, root, step, target, version_line};

/// The program, installed if need be.
///
/// # Errors
///
/// When `WASMTIME` names none, or it cannot be installed.
pub(super) fn wasmtime() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("WASMTIME").filter(|named| !named.is_empty()) {
        let program = PathBuf::from(named);
        if !program.is_file() {
            bail!("WASMTIME is {}, which is not a file", program.display());
        }
        return Ok(program);
    }
    let version = version()?;
    let folder = target().join(format!("bench/wasmtime-{version}"));
    let program = folder.join("bin/wasmtime");
    if program.is_file() {
        return Ok(program);
    }
    println!("xtask: installing wasmtime {version}, which takes some 20 minutes, once");
    let mut install = cargo();
    install.args(["install", "wasmtime-cli", "--locked", "--version", &version]);
    // A build of its own, so that its features change nothing here.
    install.arg("--root").arg(&folder);
    install.env("CARGO_TARGET_DIR", folder.join("target"));
    step("wasmtime", &mut install)?;
    fs::remove_dir_all(folder.join("target"))?;
    Ok(program)
}

/// Which one it is.
///
/// # Errors
///
/// Those of [`wasmtime`].
pub(super) fn describe() -> Result<String> {
    Ok(version_line(wasmtime()?, "--version"))
}

/// The version of Wasmtime that this server is built with.
fn version() -> Result<String> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let (_, rest) = lock
        .split_once("name = \"wasmtime\"\nversion = \"")
        .context("Cargo.lock has no wasmtime")?;
    let (version, _) = rest.split_once('"').context("Cargo.lock is cut off")?;
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_the_servers() {
        let version = super::version().unwrap();
        assert!(version.split('.').count() == 3, "{version}");
    }
}

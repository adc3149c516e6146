//! `cargo xtask test`: all that CI runs, in the order in which faults are cheapest to find.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::{cargo, docs, root, toolchain};

/// Packages that build only for WebAssembly.
const GUESTS: [&str; 2] = ["example", "guests"];

pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    toolchain::require_c_compiler()?;
    toolchain::prepare()?;

    step("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"]),
    )?;
    let mut guests = cargo();
    guests.args(["clippy", "--all-targets", "--target", "wasm32-wasip2"]);
    for package in GUESTS {
        guests.args(["--package", package]);
    }
    step(
        "lints of the guests",
        guests.args(["--", "--deny", "warnings"]),
    )?;
    step("tests", cargo().args(["test", "--no-fail-fast"]))?;
    let mut documentation = cargo();
    documentation.args(["doc", "--no-deps", "--document-private-items"]);
    step(
        "documentation",
        documentation.env("RUSTDOCFLAGS", "--deny warnings"),
    )?;

    println!("\nxtask: paths in the documentation");
    docs::check()?;

    println!(
        "\nxtask: all passed in {} seconds",
        started.elapsed().as_secs()
    );
    for skipped in skipped() {
        println!("xtask: skipped: {skipped}");
    }
    Ok(())
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    let line = format!("{command:?}").replace('"', "");
    println!("\nxtask: {name}: {line}");
    let started = Instant::now();
    crate::run(command).with_context(|| name.to_owned())?;
    println!(
        "xtask: {name}: passed in {} seconds",
        started.elapsed().as_secs()
    );
    Ok(())
}

/// What this machine has no means for, each with its reason.
fn skipped() -> Vec<String> {
    let mut skipped = Vec::new();
    if unit_tree().is_none() {
        skipped.push(
            "the tests under a real unitd: no built NGINX Unit tree in UNIT_SRC, ../unit or /usr/src/unit"
                .to_owned(),
        );
    } else {
        skipped.push(
            "the tests under a real unitd: the module for it is not part of this version"
                .to_owned(),
        );
    }
    if Command::new("curl").arg("--version").output().is_err() {
        skipped.push("the tests with curl as a client: no curl on this machine".to_owned());
    }
    skipped
}

/// A Unit tree that has been built.
fn unit_tree() -> Option<PathBuf> {
    let named = std::env::var_os("UNIT_SRC").map(PathBuf::from);
    let usual = [root().join("../unit"), PathBuf::from("/usr/src/unit")];
    named
        .into_iter()
        .chain(usual)
        .find(|tree| tree.join("build/src/nxt_unit.o").is_file())
}

//! `cargo xtask test`: all that CI runs, in the order in which faults are cheapest to find.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::command::{cargo, step};
use crate::unit::{self, Tree};
use crate::{checks, dependencies, operations, package, toolchain, toolchains};

/// Packages that build only for WebAssembly, by what can be built at the same time: guests of both
/// versions of WASI have the same names.
const GUESTS: [&[&str]; 2] = [&["example", "guests"], &["guests-03"]];

pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    let tree = Tree::find()?;
    toolchain::require_c_compiler()?;
    toolchain::prepare()?;

    checks::run()?;
    let mut missing = Vec::new();
    missing.extend(dependencies::check()?);
    step("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"]),
    )?;
    for packages in GUESTS {
        let mut guests = cargo();
        guests.args(["clippy", "--all-targets", "--target", "wasm32-wasip2"]);
        for package in packages {
            guests.args(["--package", package]);
        }
        step(
            "lints of the guests",
            guests.args(["--", "--deny", "warnings"]),
        )?;
    }
    let configurations = toolchains::schema::folder()?;
    let mut tests = cargo();
    tests.args(["test", "--no-fail-fast"]);
    step("tests", tests.env("RECORD_CONFIGURATIONS", &configurations))?;
    if let Some(tree) = &tree {
        unit::test(tree)?;
    }
    let mut documentation = cargo();
    documentation.args(["doc", "--no-deps", "--document-private-items"]);
    step(
        "documentation",
        documentation.env("RUSTDOCFLAGS", "--deny warnings"),
    )?;

    missing.extend(toolchains::run()?);
    missing.extend(toolchains::schema::run(Some(&configurations))?);
    missing.extend(package::test()?);
    missing.extend(operations::run()?);

    println!(
        "\nxtask: all passed in {} seconds",
        started.elapsed().as_secs()
    );
    for skipped in skipped(tree.is_some()).into_iter().chain(missing) {
        println!("xtask: skipped: {skipped}");
    }
    Ok(())
}

/// What this machine has no means for, each with its reason.
fn skipped(has_tree: bool) -> Vec<String> {
    let mut skipped = Vec::new();
    if !has_tree {
        skipped.push(format!(
            "the module, and the tests under a real unitd: {}",
            unit::MISSING
        ));
    }
    if Command::new("curl").arg("--version").output().is_err() {
        skipped.push("the tests with curl as a client: no curl on this machine".to_owned());
    }
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        skipped.push("the test of signatures: no ssh-keygen on this machine".to_owned());
    }
    skipped
}

//! The rules of `deny.toml`: licences, sources and versions of all that is built.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, root, step};
use crate::toolchains::place::{Failure, Place, Step};
use crate::tools::DENY;

/// Checks them without a network, once all crates are here. Gives the reason if that is not possible.
///
/// # Errors
///
/// When a dependency breaks a rule, or a rule applies to nothing.
pub(crate) fn check() -> Result<Option<String>> {
    match try_check() {
        Ok(()) => Ok(None),
        Err(Failure::NotHere(reason)) => {
            println!("xtask: not run: the rules for dependencies: {reason}");
            let install = "cargo install cargo-deny --locked";
            Ok(Some(format!(
                "the rules for dependencies of deny.toml: {reason} ({install})"
            )))
        }
        Err(Failure::Broken(error)) => Err(error),
    }
}

fn try_check() -> Step {
    let deny = DENY.find()?;
    // It reads the manifests of all crates in the lock file, those for other systems, too.
    let mut fetch = cargo();
    fetch.args(["fetch", "--quiet", "--locked", "--manifest-path"]);
    fetch.arg(root().join("Cargo.toml"));
    Place::new(DENY.name)?.install("fetching crates", &mut fetch)?;
    let mut check = Command::new(deny);
    check.current_dir(root());
    check.args(["deny", "--offline", "check", "--deny", "warnings"]);
    // Advisories need a network.
    step("dependencies", check.args(["licenses", "sources", "bans"]))?;
    Ok(())
}

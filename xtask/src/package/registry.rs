//! The crates as a package registry takes them: names, versions and descriptions. They are not built from there.

use crate::command::{cargo, root};
use crate::toolchains::place::{Failure, Place};
use anyhow::Result;

/// Makes sure that all crates that the daemon is built of can be published; gives what was left out.
///
/// # Errors
///
/// When one lacks what a registry asks for, or needs a crate that is not for publishing.
pub(super) fn test() -> Result<Option<String>> {
    let place = Place::new("registry")?;
    let mut publish = cargo();
    publish.args(["publish", "--workspace", "--dry-run", "--no-verify"]);
    publish.arg("--allow-dirty").current_dir(root());
    match place.install("crates for a registry (dry run)", &mut publish) {
        Ok(()) => Ok(None),
        Err(Failure::Broken(error)) => Err(error),
        Err(Failure::NotHere(reason)) => Ok(Some(format!("the crates for a registry: {reason}"))),
    }
}

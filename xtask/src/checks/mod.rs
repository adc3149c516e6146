//! `cargo xtask check`: the rules of this repository that no compiler knows. They take seconds.

#[cfg(test)]
mod fixture;
mod imports;
mod source;
mod type_names;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use self::source::Crate;
use crate::root;

/// Checks the crates of this repository.
///
/// # Errors
///
/// All faults, one after the other.
pub(crate) fn run() -> Result<()> {
    let mut faults = Vec::new();
    for crate_root in crate_roots()? {
        let source = Crate::read(root(), &crate_root)?;
        let circles = imports::circles(&source);
        faults.extend(circles.iter().map(|uses| {
            format!(
                "imports in a circle:
    {uses}"
            )
        }));
        faults.extend(type_names::duplicates(&source));
    }
    if !faults.is_empty() {
        bail!(
            "{} faults:
  {}",
            faults.len(),
            faults.join(
                "
  "
            )
        );
    }
    Ok(())
}

/// The root files of all crates but those of tests, guests and build scripts.
fn crate_roots() -> Result<Vec<PathBuf>> {
    let mut packages = vec![root().join("xtask")];
    let crates = root().join("crates");
    for entry in fs::read_dir(&crates).with_context(|| crates.display().to_string())? {
        packages.push(entry?.path());
    }
    packages.sort();
    let roots = packages
        .iter()
        .flat_map(|package| ["src/lib.rs", "src/main.rs"].map(|file| package.join(file)));
    Ok(roots.filter(|file| file.exists()).collect())
}

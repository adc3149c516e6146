//! The names of packages: one prefix for all that may be published, so that a registry has them side by side.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const PREFIX: &str = "wasmtime-unit";

/// The module, which is built in a checkout, beside a tree of NGINX Unit.
const MODULE: &str = "nxt_wasmtime";

/// Packages of `crates/` without the prefix.
///
/// # Errors
///
/// When a manifest cannot be read.
pub(super) fn faults(top: &Path) -> Result<Vec<String>> {
    let crates = top.join("crates");
    let mut faults = Vec::new();
    for entry in fs::read_dir(&crates).with_context(|| crates.display().to_string())? {
        let manifest = entry?.path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
        let name = package_name(&text);
        if name != MODULE && !name.starts_with(PREFIX) {
            let manifest = manifest.strip_prefix(top).unwrap_or(&manifest).display();
            faults.push(format!(
                "{manifest}: the package {name:?} does not begin with {PREFIX}"
            ));
        }
    }
    faults.sort();
    Ok(faults)
}

/// The first name in a manifest, which is that of the package.
fn package_name(manifest: &str) -> &str {
    let mut names = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("name = \""));
    names.next().unwrap_or_default().trim_end_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_without_the_prefix_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for (crate_folder, name) in [("a", "a"), ("b", "wasmtime-unit-b"), ("m", MODULE)] {
            let package = folder.path().join("crates").join(crate_folder);
            fs::create_dir_all(&package).unwrap();
            let text = format!("[package]\nname = \"{name}\"\n\n[lib]\nname = \"x\"\n");
            fs::write(package.join("Cargo.toml"), text).unwrap();
        }
        let faults = faults(folder.path()).unwrap();
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].starts_with("crates/a/Cargo.toml: the package \"a\" "),
            "{faults:?}"
        );
    }
}

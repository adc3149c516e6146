//! `cargo xtask check`: the rules of this repository that no compiler knows. They take seconds.

mod commits;
mod covered;
mod docs;
mod figures;
mod files;
#[cfg(test)]
mod fixture;
mod imports;
mod package_names;
mod prose;
mod source;
mod type_names;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use self::files::TextFile;
use self::source::Crate;
use crate::command::root;

/// Pages whose figures are those of their time, beside those of today.
const HISTORY: [&str; 2] = ["CHANGELOG.md", "docs/performance-history.md"];

/// Checks the crates, texts and commits of this repository.
///
/// # Errors
///
/// All faults that there are.
pub(crate) fn run() -> Result<()> {
    println!(
        "\nxtask: imports, names of types and packages, prose, figures, links, tests of the security model, and subjects of commits"
    );
    let started = Instant::now();
    let mut faults = Vec::new();
    for crate_root in crate_roots()? {
        let source = Crate::read(root(), &crate_root)?;
        let circles = imports::circles(&source);
        faults.extend(
            circles
                .iter()
                .map(|uses| format!("imports in a circle:\n    {uses}")),
        );
        faults.extend(type_names::duplicates(&source));
    }
    let files = files::read(root())?;
    faults.extend(files.iter().flat_map(prose::faults));
    faults.extend(figures::faults(
        files.iter().filter(|file| has_figures(file)),
    ));
    faults.extend(docs::faults(&files));
    faults.extend(covered::faults(&files)?);
    faults.extend(package_names::faults(root())?);
    match commits::faults() {
        Ok(subjects) => faults.extend(subjects),
        // A source archive, or a checkout of another user, which git refuses to read.
        Err(reason) => println!("xtask: not checked: subjects of commits ({reason:#})"),
    }
    if !faults.is_empty() {
        bail!("{} faults:\n  {}", faults.len(), faults.join("\n  "));
    }
    println!("xtask: passed in {} seconds", started.elapsed().as_secs());
    Ok(())
}

/// Whether a file is a page about this project as it is now.
fn has_figures(file: &TextFile) -> bool {
    let is_page = file.path.parent() == Some(Path::new("")) || file.path.starts_with("docs");
    let is_history = HISTORY.iter().any(|page| file.path == Path::new(page));
    file.has_extension("md") && is_page && !is_history
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

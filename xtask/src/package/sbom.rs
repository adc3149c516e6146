//! The list of all that the daemon is built of (SBOM, in the format of CycloneDX), by cargo-cyclonedx.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::folders;
use super::target::Architecture;
use crate::checkout;
use crate::command::{output, root, run};
use crate::toolchains::place::Failure;
use crate::tools::CYCLONEDX;

/// The version of all packages of this repository, this one included.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the list calls the folder of this repository, wherever that is.
const FOLDER: &str = "/wasmtime-unitd";

/// Writes the list, and says where.
///
/// # Errors
///
/// When cargo-cyclonedx cannot be installed or fails, or git does not work here.
pub(super) fn package(architecture: Architecture) -> Result<PathBuf> {
    let tool = match CYCLONEDX.find() {
        Ok(tool) => tool,
        Err(Failure::Broken(error)) => return Err(error),
        Err(Failure::NotHere(reason)) => bail!("{reason}"),
    };
    write(&tool, architecture)
}

/// Makes sure that the list is complete and reproducible, if the tool is here already; gives what was left out.
///
/// # Errors
///
/// When the list cannot be made, or is not as it should be.
pub(super) fn test() -> Result<Option<String>> {
    let Some(tool) = CYCLONEDX.installed() else {
        let reason = "no cargo-cyclonedx on this machine (cargo xtask package sbom installs it)";
        return Ok(Some(format!("the list of components (SBOM): {reason}")));
    };
    println!("\nxtask: list of components");
    let write = || -> Result<String> {
        let file = write(&tool, Architecture::X86_64)?;
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    };
    let list = write()?;
    for name in ["wasmtime", "hyper", "rustls", "wasmtime-unit-engine"] {
        let entry = format!("\"name\": \"{name}\"");
        ensure!(list.contains(&entry), "the list of components lacks {name}");
    }
    // What only tests use.
    ensure!(!list.contains("\"name\": \"rcgen\""), "the list has rcgen");
    ensure!(
        write()? == list,
        "the same checkout has another list of components"
    );
    println!("xtask: list of components: passed");
    Ok(None)
}

fn write(tool: &Path, architecture: Architecture) -> Result<PathBuf> {
    // The tool writes into the folder of each package: into a copy, then.
    let copy = tempfile::tempdir()?;
    let mut tracked = Command::new("sh");
    let pipe =
        "git ls-files -z | tar --create --null --files-from=- | tar --extract --directory=\"$1\"";
    tracked.args(["-ec", pipe, "sh"]).arg(copy.path());
    run(tracked.current_dir(root()))?;
    let mut list = Command::new(tool);
    list.args(["cyclonedx", "--format", "json", "--spec-version", "1.5"]);
    list.args(["--target", architecture.triple()]);
    list.args(["--override-filename", "sbom", "--manifest-path"]);
    list.arg(copy.path().join("crates/wasmtime-unitd/Cargo.toml"));
    list.env("SOURCE_DATE_EPOCH", checkout::time().to_string());
    output(list.current_dir(copy.path()))?;

    let made = copy.path().join("crates/wasmtime-unitd/sbom.json");
    let text = fs::read_to_string(&made).with_context(|| made.display().to_string())?;
    let text = text.replace(&copy.path().display().to_string(), FOLDER);
    let folder = folders::packages("sbom");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let name = format!(
        "wasmtime-unitd-{VERSION}-{}.cdx.json",
        architecture.triple()
    );
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    Ok(file)
}

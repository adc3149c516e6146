//! Debian packages out of a folder, by dpkg-deb: those that cargo-deb cannot make.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::checkout;
use crate::command::{output, run, step};

/// What Debian calls the processor of this machine.
///
/// # Errors
///
/// When dpkg is missing.
pub(crate) fn architecture() -> Result<String> {
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(architecture.trim().to_owned())
}

/// Makes the package `NAME_VERSION_ARCHITECTURE.deb` of a tree with `DEBIAN/control`, in a folder.
///
/// # Errors
///
/// When dpkg-deb or a tool of coreutils fails.
pub(crate) fn build(
    tree: &Path,
    (name, version): (&str, &str),
    folder: &Path,
    fast: bool,
) -> Result<PathBuf> {
    let mut sums = Command::new("sh");
    sums.args([
        "-ec",
        "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum",
    ]);
    let sums = output(sums.current_dir(tree))?;
    fs::write(tree.join("DEBIAN/md5sums"), sums).context("md5sums")?;
    // Whatever the umask is.
    run(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(tree))?;

    let package = folder.join(format!("{name}_{version}_{}.deb", architecture()?));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz"]);
    if fast {
        build.arg("-z0");
    }
    build.arg("--build").args([tree, &package]);
    // The time of the files within, if they are newer: that of the commit, not that of the build.
    build.env("SOURCE_DATE_EPOCH", checkout::time().to_string());
    step(&format!("Debian package {name}"), &mut build)?;
    Ok(package)
}

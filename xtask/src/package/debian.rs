//! The Debian package of the daemon. `crates/wasmtime-unitd/Cargo.toml` says what is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{folders, manual};
use crate::checkout;
use crate::command::{cargo, output, root, run, step, target};
use crate::debug_symbols;
use crate::toolchains::place::{Failure, Step};
use crate::tools::DEB;

/// The version of all packages of this repository, this one included.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The number of Debian's packages of one version.
const REVISION: &str = "1";

/// The version of packages, with Debian's own number.
pub(super) fn version() -> String {
    format!("{VERSION}-{REVISION}")
}

/// Who maintains the package, unless Debian's own variables `DEBFULLNAME` and `DEBEMAIL` say so.
const MAINTAINER: (&str, &str) = (
    "Wasmtime Unit maintainers",
    "maintainers@wasmtime-unitd.invalid",
);

/// Builds the daemon and its package, and says where that is.
///
/// # Errors
///
/// When cargo-deb cannot be installed, or a step fails.
pub(super) fn package(profile: &str) -> Result<PathBuf> {
    match try_package(profile) {
        Ok(package) => Ok(package),
        Err(Failure::Broken(error)) => Err(error),
        Err(Failure::NotHere(reason)) => bail!("{reason}"),
    }
}

/// Makes the package of the daemon of the profile `dev`, and checks it; gives what was left out.
///
/// # Errors
///
/// When it cannot be made, or lintian finds an error.
pub(super) fn test() -> Result<Option<String>> {
    if !has_program("dpkg-deb") {
        let reason = "no dpkg-deb on this machine, which is not a Debian";
        return Ok(Some(format!("the Debian package: {reason}")));
    }
    let package = match try_package("dev") {
        Ok(package) => package,
        Err(Failure::Broken(error)) => return Err(error),
        Err(Failure::NotHere(reason)) => {
            return Ok(Some(format!("the Debian package: {reason}")));
        }
    };
    lint(&package)
}

/// Checks a package; gives what was left out.
///
/// # Errors
///
/// When lintian finds an error.
pub(super) fn lint(package: &Path) -> Result<Option<String>> {
    if !has_program("lintian") {
        let reason = "no lintian on this machine (on Debian: apt-get install lintian)";
        return Ok(Some(format!(
            "the check of {}: {reason}",
            package.display()
        )));
    }
    let mut lintian = Command::new("lintian");
    // Root is who runs this in containers.
    lintian.args(["--allow-root", "--fail-on", "error", "--info"]);
    step("lintian", lintian.arg(package))?;
    Ok(None)
}

pub(super) fn has_program(name: &str) -> bool {
    let version = Command::new(name).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

fn try_package(profile: &str) -> Step<PathBuf> {
    let tool = DEB.find()?;
    let mut build = cargo();
    build.args(["build", "--bin", "wasmtime-unitd", "--profile", profile]);
    step("build of the daemon", &mut build)?;
    Ok(pack(&tool, profile)?)
}

/// Makes the package of what is built.
fn pack(tool: &Path, profile: &str) -> Result<PathBuf> {
    // Where cargo-deb looks for what is built: it knows of no other profile.
    let files = folders::build(&target(), "release").join("packaging");
    if files.exists() {
        fs::remove_dir_all(&files).with_context(|| files.display().to_string())?;
    }
    copy_folder(&manual::build()?, &files)?;
    let built = folders::build(&target(), profile).join("wasmtime-unitd");
    debug_symbols::split(&built, &files)?;
    let time = checkout::time();
    let maintainer = maintainer();
    let changelog = changelog("wasmtime-unitd", &maintainer, &rfc_2822(time)?);
    fs::write(files.join("changelog.Debian"), changelog).context("changelog.Debian")?;
    fs::copy(root().join("CHANGELOG.md"), files.join("changelog")).context("CHANGELOG.md")?;
    compress(&files)?;

    let folder = folders::packages("deb");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut deb = Command::new(tool);
    deb.args([
        "deb",
        "--package",
        "wasmtime-unitd",
        "--no-build",
        "--no-strip",
    ]);
    deb.args(["--deb-revision", REVISION, "--maintainer", &maintainer]);
    deb.arg("--output").arg(&folder);
    if profile == "dev" {
        // Compressing takes longer than all else.
        deb.arg("--fast");
    }
    // The time of the files within: that of the commit, not that of the build.
    deb.env("SOURCE_DATE_EPOCH", time.to_string());
    step("Debian package", deb.current_dir(root()))?;
    newest_package(&folder)
}

/// Compresses man pages and changelogs, as Debian demands.
pub(super) fn compress(folder: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--no-name"]);
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_page = path.extension().is_some_and(|section| section == "8");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_page || name.starts_with("changelog") {
            gzip.arg(path);
        }
    }
    run(&mut gzip)
}

/// Who maintains the packages, with an address.
pub(super) fn maintainer() -> String {
    let from = |variable: &str, default: &str| {
        let named = std::env::var(variable).ok();
        named
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| default.to_owned())
    };
    format!(
        "{} <{}>",
        from("DEBFULLNAME", MAINTAINER.0),
        from("DEBEMAIL", MAINTAINER.1)
    )
}

/// A changelog of Debian, which names the version and points to the one of this repository.
pub(super) fn changelog(package: &str, maintainer: &str, date: &str) -> String {
    format!(
        "{package} ({VERSION}-{REVISION}) unstable; urgency=medium\n\n  \
         * Version {VERSION}: see /usr/share/doc/{package}/changelog.gz.\n\n \
         -- {maintainer}  {date}\n"
    )
}

/// A time in seconds since 1970 as e-mails and Debian write it.
pub(super) fn rfc_2822(time: u64) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", "--date", &format!("@{time}")]);
    let said = output(date.env("LC_ALL", "C"))?;
    Ok(said.trim().to_owned())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let copy = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &copy)?;
        } else {
            fs::copy(&path, &copy).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// The package of this version in a folder.
fn newest_package(folder: &Path) -> Result<PathBuf> {
    let beginning = format!("wasmtime-unitd_{VERSION}-{REVISION}_");
    let mut found = None;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&beginning) && name.ends_with(".deb") {
            found = Some(path);
        }
    }
    found.with_context(|| format!("no {beginning}*.deb in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_has_the_form_of_debian() {
        assert_eq!(rfc_2822(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 +0000");
        let text = changelog(
            "wasmtime-unitd",
            "A <a@b.invalid>",
            "Thu, 01 Jan 1970 00:00:00 +0000",
        );
        let lines: Vec<_> = text.lines().collect();
        let first = format!("wasmtime-unitd ({VERSION}-1) unstable; urgency=medium");
        assert_eq!(lines[0], first);
        assert!(lines[2].starts_with("  * "));
        assert_eq!(
            lines[4],
            " -- A <a@b.invalid>  Thu, 01 Jan 1970 00:00:00 +0000"
        );
    }
}

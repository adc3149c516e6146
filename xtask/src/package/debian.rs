//! The Debian packages of the daemon and of its debug symbols. `crates/wasmtime-unitd/Cargo.toml` says what is in the
//! first.

pub(super) mod archive;
mod symbols;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::symbols::Description;
use super::{folders, licenses, manual};
use crate::checkout;
use crate::command::{cargo, has_program, output, root, run, step, target};
use crate::debug_symbols::{self, Stripped};
use crate::toolchains::place::{Failure, Step};
use crate::tools::DEB;
use crate::{guests, release, test_daemon};

/// The version of all packages of this repository, this one included.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The number of Debian's packages of one version.
pub(super) const REVISION: &str = "1";

/// The version of packages, with Debian's own number.
pub(super) fn version() -> String {
    format!("{VERSION}-{REVISION}")
}

const NO_DPKG: &str = "no dpkg-deb on this machine, which is not a Debian";

/// Who maintains the package, unless Debian's own variables `DEBFULLNAME` and `DEBEMAIL` say so.
const MAINTAINER: (&str, &str) = (
    "Wasmtime Unit maintainers",
    "maintainers@wasmtime-unitd.invalid",
);

/// What is packed, and the tool that packs it.
pub(crate) struct Prepared {
    tool: PathBuf,
    /// Where cargo-deb looks for what is built: it knows of no other profile than `release`.
    files: PathBuf,
    stripped: Stripped,
    /// Of the profile `dev`: to try out, and compressed fast.
    is_dev: bool,
}

/// The packages of one build.
pub(crate) struct Packages {
    pub(crate) daemon: PathBuf,
    /// Not made without dpkg-deb.
    pub(crate) symbols: Option<PathBuf>,
}

/// Builds the daemon and its packages, and says where that of the daemon is.
///
/// # Errors
///
/// When cargo-deb cannot be installed, or a step fails.
pub(super) fn package(profile: &str) -> Result<PathBuf> {
    let packages = made(prepare(profile))?;
    match &packages.symbols {
        Some(symbols) => println!("xtask: debug symbols: {}", symbols.display()),
        None => println!("xtask: not packed: debug symbols: {NO_DPKG}"),
    }
    Ok(packages.daemon)
}

/// Makes the packages of a daemon that is built.
///
/// # Errors
///
/// When cargo-deb cannot be installed, or a step fails.
pub(super) fn package_of(built: &Path) -> Result<Packages> {
    made(prepare_built(built, false))
}

fn made(prepared: Step<Prepared>) -> Result<Packages> {
    match prepared.and_then(|prepared| Ok(prepared.pack_here()?)) {
        Ok(packages) => Ok(packages),
        Err(Failure::Broken(error)) => Err(error),
        Err(Failure::NotHere(reason)) => bail!("{reason}"),
    }
}

/// Makes the packages of the daemon of the profile `dev`, and checks them; gives what was left out.
///
/// # Errors
///
/// When one cannot be made, lintian finds an error, or the symbols are not those of the program.
pub(super) fn test() -> Result<Vec<String>> {
    if !has_program("dpkg-deb") {
        return Ok(vec![format!("the Debian package: {NO_DPKG}")]);
    }
    let packed = prepare("dev").and_then(|prepared| Ok(prepared.pack_here()?));
    let packages = match packed {
        Ok(packages) => packages,
        Err(Failure::Broken(error)) => return Err(error),
        Err(Failure::NotHere(reason)) => return Ok(vec![format!("the Debian package: {reason}")]),
    };
    let made = [Some(&packages.daemon), packages.symbols.as_ref()];
    let mut skipped = Vec::from_iter(lint(made.into_iter().flatten())?);
    if let Some(symbols) = &packages.symbols {
        skipped.extend(symbols::test(&packages.daemon, symbols)?);
    }
    Ok(skipped)
}

/// Checks packages; gives what was left out.
///
/// # Errors
///
/// When lintian finds an error.
pub(super) fn lint<'a>(packages: impl IntoIterator<Item = &'a PathBuf>) -> Result<Option<String>> {
    if !has_program("lintian") {
        let reason = "no lintian on this machine (on Debian: apt-get install lintian)";
        return Ok(Some(format!("the check of Debian packages: {reason}")));
    }
    let mut lintian = Command::new("lintian");
    // Root is who runs this in containers.
    lintian.args(["--allow-root", "--fail-on", "error", "--info"]);
    step("lintian", lintian.args(packages))?;
    Ok(None)
}

/// Builds the daemon, and what is packed with it.
///
/// # Errors
///
/// When cargo-deb cannot be installed, or a step fails.
pub(crate) fn prepare(profile: &str) -> Step<Prepared> {
    let is_dev = profile == "dev";
    if is_dev {
        return prepare_built(&test_daemon::build()?, is_dev);
    }
    let mut build = cargo();
    build.args(["build", "--bin", "wasmtime-unitd", "--profile", profile]);
    step("build of the daemon", &mut build)?;
    let built = folders::build(&target(), profile).join("wasmtime-unitd");
    prepare_built(&built, is_dev)
}

fn prepare_built(built: &Path, is_dev: bool) -> Step<Prepared> {
    let tool = DEB.find()?;
    let files = folders::build(&target(), "release").join("packaging");
    if files.exists() {
        fs::remove_dir_all(&files).with_context(|| files.display().to_string())?;
    }
    copy_folder(&manual::build()?, &files)?;
    let stripped = debug_symbols::split(built, &files)?;
    // To try the daemon out, as its first page says.
    fs::copy(guests::example()?, files.join("example.wasm")).context("example.wasm")?;
    let licenses = licenses::write("wasmtime-unitd", &release::host()?)?;
    fs::copy(licenses, files.join(licenses::FILE)).context(licenses::FILE)?;
    fs::copy(root().join("CHANGELOG.md"), files.join("changelog")).context("CHANGELOG.md")?;
    compress(&files)?;
    Ok(Prepared {
        tool,
        files,
        stripped,
        is_dev,
    })
}

impl Prepared {
    /// Makes the packages where `cargo xtask package` puts what it makes.
    fn pack_here(&self) -> Result<Packages> {
        let folder = folders::packages("deb");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let daemon = self.pack(REVISION, &folder)?;
        let version = version();
        let about = Description {
            version: &version,
            maintainer: &maintainer(),
            fast: self.is_dev,
        };
        let has_tool = has_program("dpkg-deb");
        let symbols = has_tool.then(|| symbols::package(&self.stripped, &about, &folder));
        let symbols = symbols.transpose()?;
        Ok(Packages { daemon, symbols })
    }

    /// Makes the package of the daemon, of a revision, in a folder.
    ///
    /// # Errors
    ///
    /// When cargo-deb fails.
    pub(crate) fn pack(&self, revision: &str, folder: &Path) -> Result<PathBuf> {
        let time = checkout::time();
        let maintainer = maintainer();
        let changelog = changelog("wasmtime-unitd", revision, &maintainer, &rfc_2822(time)?);
        let file = self.files.join("changelog.Debian");
        fs::write(&file, changelog).with_context(|| file.display().to_string())?;
        run(gzip().arg("--force").arg(&file))?;

        let mut deb = Command::new(&self.tool);
        deb.args(["deb", "--package", "wasmtime-unitd"]);
        deb.args(["--no-build", "--no-strip"]);
        deb.args(["--deb-revision", revision, "--maintainer", &maintainer]);
        deb.arg("--output").arg(folder);
        if self.is_dev {
            // Compressing takes longer than all else.
            deb.arg("--fast");
        }
        // The time of the files within: that of the commit, not that of the build.
        deb.env("SOURCE_DATE_EPOCH", time.to_string());
        step("Debian package", deb.current_dir(root()))?;
        package_in(folder, revision)
    }
}

/// Compresses man pages and changelogs, as Debian demands.
pub(super) fn compress(folder: &Path) -> Result<()> {
    let mut gzip = gzip();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_page = path.extension().is_some_and(|section| section == "8");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_page || name.starts_with("changelog") || *name == *licenses::FILE {
            gzip.arg(path);
        }
    }
    run(&mut gzip)
}

fn gzip() -> Command {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--no-name"]);
    gzip
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
pub(super) fn changelog(package: &str, revision: &str, maintainer: &str, date: &str) -> String {
    format!(
        "{package} ({VERSION}-{revision}) unstable; urgency=medium\n\n  \
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

/// The package of this version and a revision in a folder.
fn package_in(folder: &Path, revision: &str) -> Result<PathBuf> {
    let beginning = format!("wasmtime-unitd_{VERSION}-{revision}_");
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
            "1",
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

//! The Debian package of the daemon's debug symbols, in the form of those of Debian itself: debuggers find the file by
//! the build id of the program.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::archive;
use crate::command::output;
use crate::debug_symbols::Stripped;
use crate::package::elf;

pub(super) const NAME: &str = "wasmtime-unitd-dbgsym";

/// What a package of symbols shares with that of the program.
pub(super) struct Description<'a> {
    /// With the revision.
    pub(super) version: &'a str,
    pub(super) maintainer: &'a str,
    /// Compressed less, in less time.
    pub(super) fast: bool,
}

/// Makes the package in a folder, by dpkg-deb: `--dbgsym` of cargo-deb strips programs of the profile `release` only,
/// and its variants of a package have all scripts and units of the first.
///
/// # Errors
///
/// When the program has no build id, or dpkg-deb fails.
pub(super) fn package(
    stripped: &Stripped,
    about: &Description<'_>,
    folder: &Path,
) -> Result<PathBuf> {
    let program = &stripped.program;
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    let build_id = elf::build_id(&bytes).with_context(|| program.display().to_string())?;

    let scratch = tempfile::tempdir()?;
    // Not the temporary folder itself: its mode, 0700, would be that of the root in the package.
    let tree = scratch.path().join("tree");
    let symbols = file(&build_id)?;
    install(&stripped.symbols, &tree.join(&symbols))?;
    // Debian's have no files but the symbols; their copyright is that of the program.
    let documents = tree.join("usr/share/doc");
    fs::create_dir_all(&documents)?;
    symlink("wasmtime-unitd", documents.join(NAME))?;

    let architecture = archive::architecture()?;
    let size = fs::metadata(&stripped.symbols)?.len().div_ceil(1024);
    let control = tree.join("DEBIAN");
    fs::create_dir(&control)?;
    fs::write(
        control.join("control"),
        control_file(about, &build_id, &architecture, size),
    )?;
    archive::build(&tree, (NAME, about.version), folder, about.fast)
}

/// Makes sure that a debugger finds the symbols, once both packages are installed; gives what was left out.
///
/// # Errors
///
/// When it does not.
pub(super) fn test(daemon: &Path, symbols: &Path) -> Result<Option<String>> {
    let version = Command::new("gdb").args(["--nx", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        let reason = "no gdb on this machine (on Debian: apt-get install gdb)";
        return Ok(Some(format!("the check of the debug symbols: {reason}")));
    }
    let root = tempfile::tempdir()?;
    for package in [daemon, symbols] {
        let mut extract = Command::new("dpkg-deb");
        output(extract.arg("--extract").arg(package).arg(root.path()))?;
    }
    let folder = root.path().join("usr/lib/debug");
    let mut gdb = Command::new("gdb");
    gdb.args(["--nx", "--batch", "-iex", "set verbose on", "-iex"]);
    gdb.arg(format!("set debug-file-directory {}", folder.display()));
    let said = output(gdb.arg(root.path().join("usr/bin/wasmtime-unitd")))?;
    // It reads no file of another build id.
    let found = format!("Reading symbols from {}/.build-id/", folder.display());
    if !said.contains(&found) || said.contains("No debugging symbols") {
        bail!("gdb does not find the debug symbols of the daemon: {said}");
    }
    println!("xtask: gdb finds the debug symbols of the daemon");
    Ok(None)
}

/// Where debuggers look for the symbols of a program, from the root.
fn file(build_id: &str) -> Result<PathBuf> {
    let Some((folder, name)) = build_id
        .split_at_checked(2)
        .filter(|(_, name)| !name.is_empty())
    else {
        bail!("too short a build id: {build_id}");
    };
    Ok(Path::new("usr/lib/debug/.build-id")
        .join(folder)
        .join(format!("{name}.debug")))
}

fn install(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

fn control_file(about: &Description<'_>, build_id: &str, architecture: &str, size: u64) -> String {
    let Description {
        version,
        maintainer,
        ..
    } = about;
    format!(
        "Package: {NAME}\n\
         Source: wasmtime-unitd\n\
         Version: {version}\n\
         Auto-Built-Package: debug-symbols\n\
         Architecture: {architecture}\n\
         Maintainer: {maintainer}\n\
         Installed-Size: {size}\n\
         Depends: wasmtime-unitd (= {version})\n\
         Section: debug\n\
         Priority: optional\n\
         Description: debug symbols for wasmtime-unitd\n\
         Build-Ids: {build_id}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_where_debuggers_look_for_a_build_id() {
        let expected = Path::new("usr/lib/debug/.build-id/a8/760671.debug");
        assert_eq!(file("a8760671").unwrap(), expected);
        assert!(file("a8").is_err() && file("").is_err());
    }
}

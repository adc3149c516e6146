//! The Debian package `unit-wasmtime`: the module, for the packages of NGINX Unit or FreeUnit of the version that it is
//! built against.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::debian::archive;
use super::{debian, folders, licenses};
use crate::command::{has_program, output, root, run, target};
use crate::unit::{self, Tree};
use crate::{checkout, debug_symbols, release};

/// The version of all packages of this repository, this one included.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const NAME: &str = "unit-wasmtime";

/// The module's file, which unitd finds by the end of its name.
const FILE: &str = "wasmtime.unit.so";

/// Where packages of Unit look for modules. In the middle is the name of the server: `unit` or `freeunit`.
const MODULES: (&str, &str) = ("/usr/lib/", "/modules");

/// How long unitd may take to load a module.
const LOADING: Duration = Duration::from_secs(10);

/// Builds the module and its package, and says where that is.
///
/// # Errors
///
/// When there is no tree of Unit, its unitd is not that of a package, or a step fails.
pub(super) fn package(profile: &str) -> Result<PathBuf> {
    let Some(tree) = Tree::find()? else {
        bail!("no package of the module: {}", unit::MISSING);
    };
    let server = UnitPackage::of(&tree)?;
    let built = tree.build(profile)?;
    pack(&built, &server, &folders::packages("module"), false)
}

/// Packs the module that the tests have built, and has unitd load what is in the package; gives what was left out.
///
/// # Errors
///
/// When it cannot be packed, lintian finds an error, or unitd does not load it.
pub(super) fn test() -> Result<Option<String>> {
    let skipped = |reason: &str| Ok(Some(format!("the package {NAME}: {reason}")));
    let Some(tree) = Tree::find()? else {
        return skipped(unit::MISSING);
    };
    let built = target().join("debug/libnxt_wasmtime.so");
    if !built.is_file() {
        return skipped("the module is not built (`cargo xtask test` builds it)");
    }
    if !has_program("dpkg-shlibdeps") {
        return skipped("no dpkg-shlibdeps on this machine (on Debian: apt-get install dpkg-dev)");
    }
    // Whatever this tree is configured for.
    let server = UnitPackage {
        name: "unit".to_owned(),
        version: version(&tree)?,
    };
    let folder = tempfile::tempdir()?;
    let package = pack(&built, &server, folder.path(), true)?;
    let extracted = folder.path().join("extracted");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .args([&package, &extracted]))?;
    let modules = extracted.join(server.modules().trim_start_matches('/'));
    loads(&tree.path().join("build/sbin/unitd"), &modules)?;
    debian::lint([&package])
}

/// The package of the server, on which that of the module depends.
struct UnitPackage {
    /// `unit` or `freeunit`.
    name: String,
    version: String,
}

impl UnitPackage {
    fn of(tree: &Tree) -> Result<Self> {
        let unitd = tree.path().join("build/sbin/unitd");
        let help = output(Command::new(unitd).arg("--help"))?;
        let modules = default_modules(&help).context("unitd --help names no --modulesdir")?;
        let name = modules
            .strip_prefix(MODULES.0)
            .and_then(|rest| rest.strip_suffix(MODULES.1));
        let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('/')) else {
            bail!(
                "the unitd of {} looks for modules in {modules}, which is not where packages have them: configure it \
                 with --modulesdir=/usr/lib/unit/modules (NGINX Unit) or /usr/lib/freeunit/modules (FreeUnit)",
                tree.path().display()
            );
        };
        Ok(Self {
            name: name.to_owned(),
            version: version(tree)?,
        })
    }

    fn modules(&self) -> String {
        format!("{}{}{}", MODULES.0, self.name, MODULES.1)
    }

    /// What packages of the server provide for their modules: a module fits one version only.
    fn dependency(&self) -> String {
        format!("{}-r{}", self.name, self.version)
    }
}

/// The folder of modules by the text of `unitd --help`.
fn default_modules(help: &str) -> Option<&str> {
    let option = help.split("--modulesdir").nth(1)?;
    option.split("default: \"").nth(1)?.split('"').next()
}

/// The version of a tree, such as `1.35.0`.
fn version(tree: &Tree) -> Result<String> {
    let file = tree.path().join("version");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("NXT_VERSION="));
    line.map(str::to_owned)
        .with_context(|| format!("{} has no NXT_VERSION", file.display()))
}

/// Makes the package in a folder.
fn pack(built: &Path, server: &UnitPackage, folder: &Path, is_test: bool) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let work = tempfile::tempdir()?;
    let stripped = debug_symbols::split(built, folder)?;
    let files = work.path().join("files");
    let modules = files.join(server.modules().trim_start_matches('/'));
    let documentation = files.join("usr/share/doc").join(NAME);
    let control = files.join("DEBIAN");
    for folder in [&modules, &documentation, &control] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let module = modules.join(FILE);
    fs::copy(&stripped.program, &module).context(FILE)?;
    fs::remove_file(&stripped.program).context(FILE)?;
    fs::set_permissions(&module, fs::Permissions::from_mode(0o644)).context(FILE)?;

    let time = checkout::time();
    let maintainer = debian::maintainer();
    let changelog = debian::changelog(
        NAME,
        debian::REVISION,
        &maintainer,
        &debian::rfc_2822(time)?,
    );
    fs::write(documentation.join("changelog.Debian"), changelog).context("changelog.Debian")?;
    for (from, name) in [
        ("CHANGELOG.md", "changelog"),
        ("docs/module.md", "README.md"),
        ("packaging/debian/copyright", "copyright"),
    ] {
        fs::copy(root().join(from), documentation.join(name)).context(from)?;
    }
    let licenses = licenses::write("nxt_wasmtime", &release::host()?)?;
    fs::copy(licenses, documentation.join(licenses::FILE)).context(licenses::FILE)?;
    debian::compress(&documentation)?;
    let libraries = libraries(work.path(), &module)?;
    fs::write(
        control.join("control"),
        control_file(server, &maintainer, &libraries)?,
    )?;
    archive::build(&files, (NAME, &debian::version()), folder, is_test)
}

/// The packages that the module's libraries are in.
fn libraries(work: &Path, module: &Path) -> Result<String> {
    // It asks for the file of a source package.
    let debian = work.join("debian");
    fs::create_dir_all(&debian).with_context(|| debian.display().to_string())?;
    fs::write(
        debian.join("control"),
        format!("Source: {NAME}\n\nPackage: {NAME}\nArchitecture: any\n"),
    )?;
    let mut find = Command::new("dpkg-shlibdeps");
    find.arg("-O").arg(module).current_dir(work);
    let said = output(&mut find)?;
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("shlibs:Depends="));
    line.map(str::to_owned)
        .context("dpkg-shlibdeps names no packages")
}

fn control_file(server: &UnitPackage, maintainer: &str, libraries: &str) -> Result<String> {
    let (version, architecture) = (debian::version(), archive::architecture()?);
    let server_package = server.dependency();
    // Unit's own module for components registers the same type of applications.
    Ok(format!(
        "\
Package: {NAME}
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Section: httpd
Priority: optional
Depends: {server_package}, {libraries}
Conflicts: unit-wasm
Description: NGINX Unit's module for WebAssembly components, on Wasmtime
 With this module unitd runs components of the worlds wasi:http/proxy
 (WASI 0.2) and wasi:http/service (WASI 0.3), as applications of the type
 wasm, each request in a new instance, with limits on processor time and
 memory.
 .
 Restart the server to have it load the module.
"
    ))
}

/// Makes sure that unitd loads the module of a folder.
fn loads(unitd: &Path, modules: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("unit.log");
    let mut command = Command::new(unitd);
    command.args(["--no-daemon", "--control"]);
    command.arg(format!(
        "unix:{}",
        folder.path().join("control.sock").display()
    ));
    command.arg("--log").arg(&log);
    command.arg("--pid").arg(folder.path().join("unit.pid"));
    command.arg("--modulesdir").arg(modules);
    for (flag, name) in [("--statedir", "state"), ("--tmpdir", "tmp")] {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        command.arg(flag).arg(folder);
    }
    let unitd = Running(command.stderr(Stdio::null()).spawn().context("unitd")?);
    let expected = format!("module: wasm {VERSION} ");
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text.contains(&expected) {
            drop(unitd);
            return Ok(());
        }
        ensure!(
            started.elapsed() < LOADING,
            "unitd has not loaded the module of the package:\n{text}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// A unitd that is stopped when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM, so that its other processes end, too.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_modules_is_read_from_the_help() {
        let help = "  --modulesdir DIR     set modules directory name\n                       \
                    default: \"/usr/lib/unit/modules\"\n\n  --statedir DIR       set\n                       \
                    default: \"/var/lib/unit\"\n";
        assert_eq!(default_modules(help), Some("/usr/lib/unit/modules"));
        assert_eq!(default_modules("--modules DIR"), None);
    }

    #[test]
    fn the_package_is_for_one_version_of_the_server() {
        let server = UnitPackage {
            name: "freeunit".to_owned(),
            version: "1.36.0".to_owned(),
        };
        assert_eq!(server.dependency(), "freeunit-r1.36.0");
        assert_eq!(server.modules(), "/usr/lib/freeunit/modules");
    }
}

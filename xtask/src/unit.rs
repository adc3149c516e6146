//! The module for NGINX Unit: built against a tree of Unit, and tested in that tree's unitd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, root, step, target};
use crate::release::Profile;

/// All packages for the host. With those alone that need a tree of Unit, what they share with the
/// others would be built again, Wasmtime included, for what the others want of it.
const PACKAGES: [&str; 7] = [
    "--workspace",
    "--exclude",
    "example",
    "--exclude",
    "guests",
    "--exclude",
    "guests-03",
];

/// What makes the module register Unit's other type.
const OTHER_TYPE: [&str; 2] = ["--features", "nxt_wasmtime/wasi-component-type"];

/// Why there is nothing to test with.
pub(crate) const MISSING: &str = "no built NGINX Unit tree in UNIT_SRC, in the folder around this repository, ../unit or /usr/src/unit";

/// A source tree of Unit that has been built.
pub(crate) struct Tree(PathBuf);

impl Tree {
    /// Finds one.
    ///
    /// # Errors
    ///
    /// When `UNIT_SRC` names something else.
    pub(crate) fn find() -> Result<Option<Self>> {
        let named = std::env::var_os("UNIT_SRC").filter(|named| !named.is_empty());
        if let Some(named) = named {
            let tree = root().join(named);
            if !is_built(&tree) {
                bail!(
                    "UNIT_SRC is {}, which is not a built tree of NGINX Unit: \
                     build/src/nxt_unit.o or build/sbin/unitd is missing",
                    tree.display()
                );
            }
            return Ok(Some(Self(tree)));
        }
        let usual = [
            root().join(".."),
            root().join("../unit"),
            PathBuf::from("/usr/src/unit"),
        ];
        Ok(usual.into_iter().find(|tree| is_built(tree)).map(Self))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Builds the module, and says where it is.
    ///
    /// # Errors
    ///
    /// When it does not build.
    pub(crate) fn release(&self, profile: Option<&Profile>) -> Result<PathBuf> {
        let mut build = self.cargo();
        build.args(["build", "--release", "--package", "nxt_wasmtime"]);
        let folder = match profile {
            Some(profile) => target().join(profile.used_by(&mut build)?),
            None => target(),
        };
        step("release build of the module", &mut build)?;
        Ok(folder.join("release/libnxt_wasmtime.so"))
    }

    /// Builds the module in a profile, and says where it is.
    ///
    /// # Errors
    ///
    /// When it does not build.
    pub(crate) fn build(&self, profile: &str) -> Result<PathBuf> {
        let mut build = self.cargo();
        build.args(["build", "--profile", profile, "--package", "nxt_wasmtime"]);
        step("build of the module", &mut build)?;
        let folder = if profile == "dev" { "debug" } else { profile };
        Ok(target().join(folder).join("libnxt_wasmtime.so"))
    }

    fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.env("UNIT_SRC", &self.0);
        cargo
    }
}

fn is_built(tree: &Path) -> bool {
    let needed = ["build/src/nxt_unit.o", "build/sbin/unitd"];
    needed.iter().all(|file| tree.join(file).is_file())
}

/// Lints and builds the module under both of its types, and tests it in a real unitd.
pub(crate) fn test(tree: &Tree) -> Result<()> {
    for features in [&OTHER_TYPE[..], &[]] {
        let mut clippy = tree.cargo();
        clippy.args(["clippy", "--all-targets"]).args(PACKAGES);
        clippy.args(features).args(["--", "--deny", "warnings"]);
        step("lints of the module", &mut clippy)?;
    }
    let modules = build(tree)?;
    let mut tests = tree.cargo();
    tests.args(["test", "--no-fail-fast"]).args(PACKAGES);
    tests.args(["--test", "unitd"]);
    step(
        "tests under a real unitd",
        tests.env("UNIT_MODULES", modules),
    )?;
    let mut documentation = tree.cargo();
    documentation.args(["doc", "--no-deps", "--document-private-items"]);
    documentation.args(PACKAGES);
    step(
        "documentation of the module",
        documentation.env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

/// Builds the module under both of its types, into a folder that unitd can take as its own.
fn build(tree: &Tree) -> Result<PathBuf> {
    let modules = target().join("unit-modules");
    // unitd loads all that is there.
    if modules.exists() {
        fs::remove_dir_all(&modules).with_context(|| modules.display().to_string())?;
    }
    fs::create_dir_all(&modules).with_context(|| modules.display().to_string())?;
    let built = target().join("debug/libnxt_wasmtime.so");
    for (name, features) in [
        ("wasm_wasi_component.unit.so", &OTHER_TYPE[..]),
        ("wasm.unit.so", &[]),
    ] {
        let mut build = tree.cargo();
        // With the tests, whose dependencies ask more of what they share with the module.
        build.args(["build", "--lib", "--test", "unitd"]);
        build.args(PACKAGES);
        step("the module", build.args(features))?;
        fs::copy(&built, modules.join(name)).with_context(|| built.display().to_string())?;
    }
    Ok(modules)
}

//! `cargo xtask toolchains`: components that other tool chains make of `guests/toolchains/`, and
//! the test that serves them.
//!
//! All that is installed or built goes below `toolchains/` in the target folder, and stays there
//! for the next run. What a machine has no means for is left out, with the reason; what it has
//! means for must build.

pub(crate) mod debian;
pub(crate) mod place;
pub(crate) mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use self::place::{Failure, Place, Step, read, sources};
use crate::command::{cargo, root, step, target};
use crate::toolchain;

const WIT_BINDGEN: &str = "0.63.0";

/// Makes a component, and says where it is.
type Recipe = fn(&Place) -> Step<PathBuf>;

/// Each with the name of its folder, and of its component.
const TOOL_CHAINS: [(&str, Recipe); 5] = [
    ("python", python),
    ("javascript", javascript),
    ("c", c),
    ("rust-wstd", rust),
    ("rust-wasip3", rust),
];

/// Makes the components and serves them. Gives what could not be made, each with the reason.
///
/// # Errors
///
/// When one does not build, or is not served as it should be.
pub(crate) fn run() -> Result<Vec<String>> {
    toolchain::prepare()?;
    let components = target().join("toolchains/components");
    if components.exists() {
        fs::remove_dir_all(&components).with_context(|| components.display().to_string())?;
    }
    fs::create_dir_all(&components).with_context(|| components.display().to_string())?;

    println!("\nxtask: components of other tool chains");
    let mut missing = Vec::new();
    for (name, make) in TOOL_CHAINS {
        match make(&Place::new(name)?) {
            Ok(made) => {
                fs::copy(&made, components.join(format!("{name}.wasm")))
                    .with_context(|| made.display().to_string())?;
            }
            Err(Failure::NotHere(reason)) => {
                println!("xtask: not run: {name}: {reason}");
                missing.push(format!("the component of {name}: {reason}"));
            }
            Err(Failure::Broken(error)) => {
                return Err(error.context(format!("the component of {name}")));
            }
        }
    }
    // Of all packages, since for one alone what it shares with the others would be built again.
    let mut tests = cargo();
    tests.args(["test", "--test", "toolchains"]);
    step(
        "tests of the components of other tool chains",
        tests.env("TOOLCHAIN_COMPONENTS", components),
    )?;
    Ok(missing)
}

/// The component of Python.
///
/// # Errors
///
/// When it cannot be made here.
pub(crate) fn python_component() -> Result<PathBuf> {
    python(&Place::new("python")?).map_err(|failure| match failure {
        Failure::NotHere(reason) => anyhow!("there is no component of Python: {reason}"),
        Failure::Broken(error) => error,
    })
}

/// componentize-py, in a virtual environment.
fn python(place: &Place) -> Step<PathBuf> {
    place.copy_sources()?;
    let requirements = read(&sources(place.name).join("requirements.txt"))?;
    let stamp = virtual_environment(place, &[requirements.trim()])?;
    let stamp = place.stamp(&stamp)?;
    place.once("built", &stamp, || {
        place.copy_wit(str::to_owned)?;
        let mut componentize = Command::new(place.folder.join("venv/bin/componentize-py"));
        componentize.args(["--wit-path", "wit", "--world", "guest"]);
        componentize.args(["componentize", "app", "--output", "app.wasm"]);
        place.build("the component", &mut componentize)
    })?;
    Ok(place.folder.join("app.wasm"))
}

/// A virtual environment of Python, `venv`, with packages, each `NAME==VERSION`. Gives what it was made of.
///
/// # Errors
///
/// When there is no such Python here, or PyPI has no such packages for it.
pub(crate) fn virtual_environment(place: &Place, packages: &[&str]) -> Step<String> {
    let version = place.version("python3", "python3 python3-venv")?;
    let check = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))";
    if !place.succeeds(Command::new("python3").args(["-c", check]))? {
        return Err(Failure::NotHere(format!(
            "{version} is older than 3.10, or has no venv with pip (on Debian: apt-get install \
             python3-venv)"
        )));
    }
    // It works only where it was made.
    let list = packages.join(" ");
    let stamp = format!("{version}\n{}\n{list}", place.folder.display());
    place.once("installed", &stamp, || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear", "venv"]);
        place.build("a virtual environment", &mut venv)?;
        let mut pip = Command::new(place.folder.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "--no-input", "--no-cache-dir"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .args(packages);
        place.install(&format!("installing {list}"), &mut pip)
    })?;
    Ok(stamp)
}

/// jco, in a folder of modules.
fn javascript(place: &Place) -> Step<PathBuf> {
    let version = place.version("node", "nodejs npm")?;
    let check = "const [a, b] = process.versions.node.split('.').map(Number);\
                 process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)";
    if !place.succeeds(Command::new("node").args(["-e", check]))? {
        let reason = format!("node {version} is older than 20.19");
        return Err(Failure::NotHere(reason));
    }
    let npm = place.version("npm", "npm")?;
    place.copy_sources()?;
    let stamp = format!(
        "{version}\n{npm}\n{}",
        read(&sources(place.name).join("package-lock.json"))?
    );
    place.once("installed", &stamp, || {
        // Without a network, npm tries for many minutes to install.
        let mut npm = npm_command();
        npm.args(["view", "--fetch-retries=0", "@bytecodealliance/jco", "name"]);
        place.install("asking the registry for jco", &mut npm)?;
        let mut npm = npm_command();
        // Not `ci`, which wants the binaries of all other machines in the lock file.
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
        place.install("installing jco and componentize-js", &mut npm)?;
        fs::remove_dir_all(place.folder.join("cache")).context("cache")?;
        Ok(())
    })?;
    let stamp = place.stamp(&stamp)?;
    place.once("built", &stamp, || {
        // The engine exports just this version, and its network interface has just this type.
        place.copy_wit(|text| {
            text.replace("0.2.12", "0.2.10").replace(
                "@unstable(feature = network-error-code)",
                "@since(version = 0.2.0)",
            )
        })?;
        let mut jco = Command::new(place.folder.join("node_modules/.bin/jco"));
        jco.args(["componentize", "app.js", "--wit", "wit"]);
        jco.args(["--world-name", "guest", "--out", "app.wasm"]);
        place.build("the component", &mut jco)
    })?;
    Ok(place.folder.join("app.wasm"))
}

/// npm, with its downloads and logs out of the user's home.
fn npm_command() -> Command {
    let mut npm = Command::new("npm");
    npm.args(["--cache", "cache"]);
    npm
}

/// clang and wasi-libc with wit-bindgen, and Rust's linker of components.
fn c(place: &Place) -> Step<PathBuf> {
    let version = place.version("clang", "clang wasi-libc libclang-rt-dev-wasm32")?;
    let tools = linker(place)?;
    let clang = || {
        let mut clang = Command::new("clang");
        clang.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-O1"]);
        clang
    };
    place.copy_sources()?;
    fs::write(place.folder.join("probe.c"), "#include <stdlib.h>\n").context("probe.c")?;
    let mut probe = clang();
    probe.arg(fuse(&tools.join("gcc-ld/wasm-ld")));
    if !place.succeeds(probe.args(["probe.c", "-o", "probe.wasm"]))? {
        return Err(Failure::NotHere(format!(
            "{version} has no libraries for WASI (on Debian: apt-get install wasi-libc \
             libclang-rt-dev-wasm32)"
        )));
    }
    place.once("installed", WIT_BINDGEN, || {
        let mut install = cargo();
        install.args(["install", "--locked", "--root", "."]);
        install
            .args(["--target-dir", "build"])
            .arg("wit-bindgen-cli");
        install.args(["--version", WIT_BINDGEN]);
        install.args(["--no-default-features", "--features", "c"]);
        // Optimised, it takes three times as long, and it runs for a moment.
        install
            .args(["--profile", "dev"])
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_INCREMENTAL", "0");
        place.install(
            "installing wit-bindgen-cli, which is compiled",
            &mut install,
        )?;
        fs::remove_dir_all(place.folder.join("build")).context("build")?;
        Ok(())
    })?;
    let stamp = place.stamp(&format!("{version}\n{}", tools.display()))?;
    place.once("built", &stamp, || {
        place.copy_wit(str::to_owned)?;
        let mut bindgen = Command::new(place.folder.join("bin/wit-bindgen"));
        bindgen.args(["c", "wit", "--world", "guest"]);
        place.build("the bindings", &mut bindgen)?;
        let mut component = clang();
        component
            .args(["-Wall", "-Wextra", "-Werror"])
            .args(["app.c", "guest.c", "guest_component_type.o"])
            .arg(fuse(&tools.join("wasm-component-ld")))
            .arg(format!(
                "-Wl,--wasm-ld-path={}",
                tools.join("gcc-ld/wasm-ld").display()
            ))
            .args(["-o", "app.wasm"]);
        place.build("the component", &mut component)
    })?;
    Ok(place.folder.join("app.wasm"))
}

fn fuse(linker: &Path) -> String {
    format!("-fuse-ld={}", linker.display())
}

/// Where Rust has its linkers.
fn linker(place: &Place) -> Step<PathBuf> {
    let libraries = place.said(
        Command::new("rustc")
            .current_dir(root())
            .args(["--print", "target-libdir"]),
    )?;
    let libraries = Path::new(&libraries);
    Ok(libraries.parent().unwrap_or(libraries).join("bin"))
}

/// A package with a lock file of its own; cargo itself knows what is out of date.
fn rust(place: &Place) -> Step<PathBuf> {
    let manifest = sources(place.name).join("Cargo.toml");
    place.fetch(&manifest)?;
    let mut build = cargo();
    build
        .args(["build", "--release", "--locked", "--offline"])
        .args(["--target", "wasm32-wasip2"])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(place.folder.join("target"));
    place.build("the component", &mut build)?;
    let file = format!("{}.wasm", place.name.replace('-', "_"));
    Ok(place.folder.join("target/wasm32-wasip2/release").join(file))
}

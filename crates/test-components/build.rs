//! Builds the guests and the example, each target with one run of cargo in a target directory of
//! its own, since the outer cargo holds the lock of the usual one. The guests of WASI 0.3 have
//! another one again: they have the names of those of 0.2.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// What the outer cargo, or clippy, says about the host's build and must not say about this one.
const OUTER: [&str; 11] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    for source in [
        "guests",
        "example",
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = out.join("target");

    build(
        &root,
        &target,
        "wasm32-wasip2",
        &[
            "--package",
            "example",
            "--package",
            "guests",
            "--lib",
            "--examples",
        ],
    )?;
    build(&root, &target, "wasm32-wasip1", &["--package", "example"])?;
    let target_03 = out.join("target-03");
    build(
        &root,
        &target_03,
        "wasm32-wasip2",
        &["--package", "guests-03", "--lib", "--examples"],
    )?;

    let component = target.join("wasm32-wasip2/release");
    let module = target.join("wasm32-wasip1/release/example.wasm");
    let adapted = out.join("example-adapted.wasm");
    fs::write(&adapted, adapt(&fs::read(&module)?)?)?;
    export("GUESTS", &component.join("examples"));
    export(
        "GUESTS_03",
        &target_03.join("wasm32-wasip2/release/examples"),
    );
    export("EXAMPLE", &component.join("example.wasm"));
    export("EXAMPLE_ADAPTED", &adapted);
    export("EXAMPLE_CORE_MODULE", &module);
    for (variable, folder) in [
        ("GUEST_NAMES", "guests/examples"),
        ("GUEST_NAMES_03", "guests/wasi-0.3/examples"),
    ] {
        let names = names(&root.join(folder))?.join(",");
        println!("cargo::rustc-env={variable}={names}");
    }
    Ok(())
}

fn build(root: &Path, target: &Path, triple: &str, what: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("cargo has not set CARGO")?);
    cargo
        .current_dir(root)
        .args(["build", "--release", "--locked", "--target", triple])
        .args(what);
    for variable in OUTER {
        cargo.env_remove(variable);
    }
    cargo
        .env("CARGO_TARGET_DIR", target)
        // Fast to build is what matters here; names help to read a trap's backtrace.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    if messages.contains("can't find crate for `core`")
        || messages.contains("can't find crate for `std`")
    {
        return Err(format!(
            "the target {triple} is missing; add it with: rustup target add {triple}"
        )
        .into());
    }
    Err(format!("the guests do not build for {triple}:\n{messages}").into())
}

/// What `wasm-tools component new --adapt wasi_snapshot_preview1.reactor.wasm` does.
fn adapt(module: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)?
        .adapter(
            WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?
        .encode()?;
    Ok(component)
}

fn names(examples: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(examples)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

fn export(variable: &str, path: &Path) {
    println!("cargo::rustc-env={variable}={}", path.display());
}

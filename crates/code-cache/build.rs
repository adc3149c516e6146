//! Tells the crate which versions of the compiler's parts it is built with.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// How the names of packages begin that take part in what is compiled.
const PARTS: [&str; 4] = ["cranelift", "regalloc2", "wasmparser", "wasmtime"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let versions = match lock_file() {
        Some(lock) => {
            println!("cargo::rerun-if-changed={}", lock.display());
            versions(&fs::read_to_string(&lock).unwrap_or_default())
        }
        // Wasmtime's own version, which is in the key, too, names nearly all of them.
        None => String::new(),
    };
    println!("cargo::rustc-env=COMPILER_VERSIONS={versions}");
}

/// The workspace's, above the package.
fn lock_file() -> Option<PathBuf> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let locks = package
        .ancestors()
        .map(|folder: &Path| folder.join("Cargo.lock"));
    locks.into_iter().find(|lock| lock.is_file())
}

fn versions(lock: &str) -> String {
    let mut versions = Vec::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let name = quoted(line, "name = ");
        if let Some(name) = name.filter(|name| PARTS.iter().any(|part| name.starts_with(part)))
            && let Some(version) = lines.next().and_then(|line| quoted(line, "version = "))
        {
            versions.push(format!("{name} {version}"));
        }
    }
    versions.join(", ")
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

//! The daemon as one file that needs no libraries, with its debug symbols apart.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::target::Architecture;
use super::{elf, folders, licenses};
use crate::command::{cargo, output, step};
use crate::{debug_symbols, toolchain};

/// Builds the daemon, and says where it is.
///
/// # Errors
///
/// When a compiler is missing, or it does not build, or is not static, or does not run.
pub(super) fn build(architecture: Architecture, profile: &str) -> Result<PathBuf> {
    let triple = architecture.triple();
    toolchain::add_targets(&[triple])?;
    let mut build = cargo();
    build.args(["build", "--locked", "--bin", "wasmtime-unitd"]);
    build.args(["--profile", profile]);
    architecture.configure(&mut build)?;
    step(&format!("static build for {triple}"), &mut build)?;

    let built = built(architecture, profile);
    let bytes = fs::read(&built).with_context(|| built.display().to_string())?;
    elf::require_static(&bytes).with_context(|| built.display().to_string())?;
    if architecture.is_position_independent() {
        elf::require_position_independent(&bytes).with_context(|| built.display().to_string())?;
    }

    let folder = folders::packages("static").join(triple);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let program = debug_symbols::split(&built, &folder)?.program;
    let licenses = licenses::write("wasmtime-unitd", triple)?;
    fs::copy(&licenses, folder.join(licenses::FILE)).context(licenses::FILE)?;
    match architecture.runner(&program)? {
        Some(mut runner) => {
            let said = output(runner.arg("--version"))?;
            if !said.starts_with("wasmtime-unitd ") {
                bail!("{} calls itself {said:?}", program.display());
            }
        }
        None => println!("xtask: not run: {}: no emulator for it", program.display()),
    }
    Ok(program)
}

/// Where cargo puts the daemon, with its debug symbols.
pub(super) fn built(architecture: Architecture, profile: &str) -> PathBuf {
    folders::build(&architecture.build_folder(), profile).join("wasmtime-unitd")
}

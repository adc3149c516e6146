//! `cargo xtask release`: the programs as they are published.

use anyhow::Result;

use crate::release;
use crate::toolchain;
use crate::unit::{self, Tree};

pub(crate) const HELP: &str = "\
Usage: cargo xtask release

Builds the daemon as it is published: with fat LTO, and optimised by a profile of a training run.
With a built tree of NGINX Unit, which UNIT_SRC may name, it builds the module in the same way. Says
where they are. Takes some 25 minutes on two cores, and next to nothing when nothing has changed.
Without rustup's component llvm-tools there is no profile.
";

/// Builds the daemon, and the module if there is a tree for it, and says where they are.
///
/// # Errors
///
/// When one does not build.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::find()?;
    toolchain::require_c_compiler()?;
    toolchain::prepare()?;
    let profile = release::profile()?;
    let profile = profile.as_ref();
    let folder = release::build(&["wasmtime-unitd"], profile)?;
    let module = tree.map(|tree| tree.release(profile)).transpose()?;
    println!("\nxtask: built {}", folder.join("wasmtime-unitd").display());
    match module {
        Some(module) => println!("xtask: built {}", module.display()),
        None => println!("xtask: skipped: the module: {}", unit::MISSING),
    }
    Ok(())
}

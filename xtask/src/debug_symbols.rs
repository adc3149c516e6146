//! Programs without debug symbols, and the symbols as files of their own, which debuggers find by a link.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{run, rustc};

/// A program that has been parted from its debug symbols.
pub(crate) struct Stripped {
    pub(crate) program: PathBuf,
    /// Named after the program, with `.debug`.
    pub(crate) symbols: PathBuf,
}

/// Writes a program without debug symbols, and the symbols, into a folder. The program itself stays as it is.
///
/// # Errors
///
/// When the toolchain has no `rust-objcopy`, or that fails.
pub(crate) fn split(program: &Path, folder: &Path) -> Result<Stripped> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let stripped = Stripped {
        program: folder.join(&*name),
        symbols: folder.join(format!("{name}.debug")),
    };
    run(objcopy()?
        .arg("--only-keep-debug")
        .args([program, &stripped.symbols]))?;
    let mut strip = objcopy()?;
    strip.arg("--strip-all");
    // The link has the file's name alone: debuggers look for it beside the program.
    strip.arg(format!(
        "--add-gnu-debuglink={}",
        stripped.symbols.display()
    ));
    run(strip.args([program, &stripped.program]))?;
    let permissions = fs::metadata(program)
        .with_context(|| program.display().to_string())?
        .permissions();
    fs::set_permissions(&stripped.program, permissions)?;
    Ok(stripped)
}

/// The toolchain's own, for it reads programs for all processors; GNU's reads those of its own only.
fn objcopy() -> Result<Command> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let sysroot = Path::new(sysroot.trim());
    let libraries = rustc(&["--print", "target-libdir"])?;
    let libraries = Path::new(libraries.trim());
    let program = libraries
        .parent()
        .unwrap_or(libraries)
        .join("bin/rust-objcopy");
    if !program.is_file() {
        bail!("the toolchain has no {}", program.display());
    }
    let mut command = Command::new(program);
    // The compiler, which usually calls it, sees to it that LLVM's library is found.
    command.env("LD_LIBRARY_PATH", sysroot.join("lib"));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_program_still_runs_and_names_its_symbols() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a.rs");
        // The name of the function, not those of sections: the standard library has these as text.
        let text =
            "#[inline(never)] fn traceable() { println!(\"runs\"); } fn main() { traceable(); }";
        fs::write(&source, text).unwrap();
        let program = folder.path().join("a");
        let mut rustc = Command::new("rustc");
        rustc.args(["-g", "-o"]).args([&program, &source]);
        run(&mut rustc).unwrap();

        let apart = folder.path().join("apart");
        fs::create_dir(&apart).unwrap();
        let stripped = split(&program, &apart).unwrap();
        let output = Command::new(&stripped.program).output().unwrap();
        assert_eq!(output.stdout, b"runs\n");
        let has = |path: &Path, bytes: &[u8]| {
            let content = fs::read(path).unwrap();
            content.windows(bytes.len()).any(|window| window == bytes)
        };
        assert!(has(&program, b"traceable"));
        assert!(!has(&stripped.program, b"traceable"));
        assert!(has(&stripped.program, b"a.debug"));
        assert!(has(&stripped.symbols, b"traceable"));
    }
}

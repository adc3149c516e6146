//! The processors that static programs are built for, and what a build for each needs.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{has_program, root, target};
use crate::release::host;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    X86_64,
    Aarch64,
}

/// What builds and runs programs of a processor on this machine.
struct Tools {
    compiler: &'static str,
    /// The package of Debian that has the compiler.
    package: &'static str,
    is_native: bool,
}

impl Architecture {
    pub(super) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The target that cargo builds for.
    pub(super) fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Whether Rust links static programs for it that can be loaded at any address (static-pie).
    pub(super) fn is_position_independent(self) -> bool {
        match self {
            Self::X86_64 => true,
            Self::Aarch64 => false,
        }
    }

    /// What images call it.
    pub(super) fn of_images(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// What QEMU calls it, as Debian names its programs.
    fn emulator(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-x86_64-static",
            Self::Aarch64 => "qemu-aarch64-static",
        }
    }

    pub(super) fn parse(triple: &str) -> Result<Self> {
        match Self::ALL.iter().find(|it| it.triple() == triple) {
            Some(architecture) => Ok(*architecture),
            None => {
                let known = Self::ALL.map(Self::triple).join(" and ");
                bail!("no static program is built for {triple}; known are {known}")
            }
        }
    }

    /// This machine's own.
    pub(super) fn host() -> Result<Self> {
        let host = host()?;
        let processor = |triple: &str| triple.split('-').next().map(str::to_owned);
        match Self::ALL
            .iter()
            .find(|it| processor(it.triple()) == processor(&host))
        {
            Some(architecture) => Ok(*architecture),
            None => bail!("no static program is built for {host}"),
        }
    }

    fn tools(self) -> Result<Tools> {
        let is_native = Self::host().is_ok_and(|host| host == self);
        let (compiler, package) = match self {
            _ if is_native => ("musl-gcc", "musl-tools"),
            Self::Aarch64 => ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            Self::X86_64 => ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
        };
        Ok(Tools {
            compiler,
            package,
            is_native,
        })
    }

    /// Why there is no C compiler for it; `None` if there is one.
    pub(super) fn missing_compiler(self) -> Option<String> {
        let Ok(Tools {
            compiler, package, ..
        }) = self.tools()
        else {
            return Some(format!("no C compiler for {} is known", self.triple()));
        };
        let variable = format!("CC_{}", self.triple().replace('-', "_"));
        let is_here = std::env::var_os(&variable).is_some() || has_program(compiler);
        (!is_here).then(|| {
            format!(
                "no C compiler for {}: `{compiler}` cannot be started (on Debian: apt-get install {package}); or set \
                 {variable}",
                self.triple()
            )
        })
    }

    /// Has a build make a static program for this processor, on a machine of another one, too.
    ///
    /// # Errors
    ///
    /// When there is no C compiler for it.
    pub(super) fn configure(self, build: &mut Command) -> Result<()> {
        let tools = self.tools()?;
        let name = self.triple().replace('-', "_");
        let compiler = format!("CC_{name}");
        if let Some(missing) = self.missing_compiler() {
            bail!("{missing}");
        }
        if std::env::var_os(&compiler).is_none() {
            build.env(compiler, tools.compiler);
        }
        let mut flags = String::new();
        let variable = format!("CARGO_TARGET_{}", name.to_uppercase());
        if !tools.is_native {
            // The compiler's headers are those of glibc: no variants of functions that musl does not have.
            flags.push_str("-U_FORTIFY_SOURCE ");
            if self == Self::Aarch64 {
                flags.push_str("-mno-outline-atomics ");
            }
            // Rust's own, which links for all processors. It brings musl's objects itself.
            build.env(format!("{variable}_LINKER"), "rust-lld");
        }
        // The same program wherever it is built: messages about panics have the paths of sources.
        let mut remaps = Vec::new();
        for (folder, name) in source_folders() {
            remaps.push(format!("--remap-path-prefix={folder}={name}"));
            flags.push_str(&format!("-ffile-prefix-map={folder}={name} "));
        }
        build.env(format!("{variable}_RUSTFLAGS"), remaps.join(" "));
        build.env(format!("CFLAGS_{name}"), flags.trim_end());
        build.args(["--target", self.triple()]);
        build.env_remove("CARGO_BUILD_TARGET");
        Ok(())
    }

    /// A command that runs a program of this processor, if this machine can.
    pub(super) fn runner(self, program: &std::path::Path) -> Result<Option<Command>> {
        if self.tools()?.is_native {
            return Ok(Some(Command::new(program)));
        }
        let has_emulator = Command::new(self.emulator())
            .arg("--version")
            .output()
            .is_ok();
        Ok(has_emulator.then(|| {
            let mut command = Command::new(self.emulator());
            command.arg(program);
            command
        }))
    }

    /// Where cargo puts what it builds for this processor.
    pub(super) fn build_folder(self) -> std::path::PathBuf {
        target().join(self.triple())
    }
}

/// Where sources are on this machine, and what programs call these folders.
fn source_folders() -> Vec<(String, &'static str)> {
    let mut folders = vec![(root().display().to_string(), "/wasmtime-unitd")];
    let cargo = std::env::var("CARGO_HOME")
        .ok()
        .or_else(|| Some(format!("{}/.cargo", std::env::var("HOME").ok()?)));
    folders.extend(cargo.map(|cargo| (cargo, "/cargo")));
    // Code that build scripts write. The last folder that fits counts, and this one may be in the first.
    folders.push((target().display().to_string(), "/target"));
    // Flags are separated by spaces.
    folders.retain(|(folder, _)| !folder.contains(char::is_whitespace));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_is_found_by_its_triple() {
        for architecture in Architecture::ALL {
            assert_eq!(
                Architecture::parse(architecture.triple()).unwrap(),
                architecture
            );
        }
        let error = Architecture::parse("mips").unwrap_err().to_string();
        assert!(error.contains("aarch64-unknown-linux-musl"), "{error}");
    }
}

//! Tools for cargo that this machine may lack: they are installed below `toolchains/` of the target folder, once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{cargo, target};
use crate::toolchains::place::{Failure, Place, Step};

/// A tool that crates.io has, in the version that is installed where the machine has none of its own.
pub(crate) struct CargoTool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// Checks the rules of `deny.toml`.
pub(crate) const DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// Makes packages for Debian.
pub(crate) const DEB: CargoTool = CargoTool {
    name: "cargo-deb",
    version: "3.8.0",
};

/// Lists what a program is built of.
pub(crate) const CYCLONEDX: CargoTool = CargoTool {
    name: "cargo-cyclonedx",
    version: "0.5.9",
};

impl CargoTool {
    /// The program, if it is here: the machine's own, in whatever version, or the one below the target folder.
    pub(crate) fn installed(&self) -> Option<PathBuf> {
        let below = target().join("toolchains").join(self.name).join("bin");
        let programs = [self.name.into(), below.join(self.name)];
        programs.into_iter().find(|program| self.runs(program))
    }

    /// The program: the machine's own, or else the one below the target folder, which is installed if it is not there
    /// in this version.
    ///
    /// # Errors
    ///
    /// When the machine has none, and it cannot be installed.
    pub(crate) fn find(&self) -> Step<PathBuf> {
        let own = PathBuf::from(self.name);
        if self.runs(&own) {
            return Ok(own);
        }
        let place = Place::new(self.name)?;
        place.once("installed", self.version, || {
            let mut install = cargo();
            install.args(["install", "--locked", "--root", "."]);
            install.args(["--target-dir", "build", "--version", self.version]);
            // Optimised, it takes longer to build than it ever runs.
            install
                .args([self.name, "--profile", "dev"])
                .env("CARGO_PROFILE_DEV_DEBUG", "false")
                .env("CARGO_INCREMENTAL", "0");
            let what = format!(
                "installing {} {}, which is compiled",
                self.name, self.version
            );
            // Whatever the reason is: what the tool checks is skipped then.
            match place.install(&what, &mut install) {
                Err(Failure::Broken(error)) => Err(Failure::NotHere(format!("{error:#}"))),
                installed => installed,
            }?;
            std::fs::remove_dir_all(place.folder.join("build"))?;
            Ok(())
        })?;
        Ok(place.folder.join("bin").join(self.name))
    }

    fn runs(&self, program: &Path) -> bool {
        let mut version = Command::new(program);
        // As cargo calls it: some know no flags without the name of their command.
        version.args([self.name.trim_start_matches("cargo-"), "--version"]);
        let output = version.stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    }
}

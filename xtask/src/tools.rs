//! Tools for cargo that this machine may lack: they are installed below `toolchains/` of the target folder, once.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command::cargo;
use crate::toolchains::place::{Place, Step};

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

impl CargoTool {
    /// The program: the machine's own, in whatever version, or the one below the target folder.
    ///
    /// # Errors
    ///
    /// When the machine has it not, and it cannot be installed.
    pub(crate) fn find(&self) -> Step<PathBuf> {
        let mut own = Command::new(self.name);
        let own = own.arg("--version").stdin(Stdio::null()).output();
        if own.is_ok_and(|output| output.status.success()) {
            return Ok(self.name.into());
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
            place.install(&what, &mut install)?;
            std::fs::remove_dir_all(place.folder.join("build"))?;
            Ok(())
        })?;
        Ok(place.folder.join("bin").join(self.name))
    }
}

//! The daemon, for the tests.

use std::path::Path;
use std::process::Command;

use test_suite::FrontEnd;

/// The daemon of this build.
pub(crate) struct Daemon;

impl FrontEnd for Daemon {
    fn command(&self, directory: &Path) -> Command {
        let mut command = daemon();
        command
            .arg("--no-daemon")
            .arg("--control")
            .arg(format!("unix:{}", directory.join("control.sock").display()))
            .arg("--statedir")
            .arg(directory.join("state"))
            .arg("--log")
            .arg(directory.join("unit.log"));
        command
    }
}

/// The program, without any flags.
pub(crate) fn daemon() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wasmtime-unitd"))
}

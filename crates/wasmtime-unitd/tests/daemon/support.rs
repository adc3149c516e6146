//! The daemon, for the tests.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

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

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    Ended::of(daemon().args(arguments))
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        Self {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks that the command failed, and said this.
    #[track_caller]
    pub(crate) fn assert_refused(&self, why: &str) {
        assert!(self.code.is_some_and(|code| code != 0), "{self:?}");
        assert!(self.errors.contains(why), "{why:?} in {self:?}");
        // A failure is a sentence, not a panic.
        assert!(!self.errors.contains("panicked"), "{self:?}");
    }
}

/// The program, without any flags.
pub(crate) fn daemon() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wasmtime-unitd"))
}

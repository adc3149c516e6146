//! The daemon, for the tests.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::{Uid, User, geteuid};
use tempfile::TempDir;
use test_suite::{FrontEnd, Running, within};

pub(crate) use test_suite::LONG;

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

    /// The cases are about guests, which take more than a configuration allows clients by itself.
    fn settings(&self) -> &'static str {
        r#""settings": {"http": {"max_body_size": 1073741824}},"#
    }
}

/// The user without privileges of every Linux distribution, whose name differs.
const UNPRIVILEGED: u32 = 65534;

/// The daemon with `--user`. Only root can start it.
pub(crate) struct Unprivileged;

impl FrontEnd for Unprivileged {
    fn command(&self, directory: &Path) -> Command {
        let mut command = Daemon.command(directory);
        let user = User::from_uid(Uid::from_raw(UNPRIVILEGED))
            .unwrap()
            .unwrap();
        command.args(["--user", &user.name]);
        command
    }
}

/// Whether [`Unprivileged`] can be started; says so if it cannot.
pub(crate) fn can_become_another_user() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can become another user");
    }
    is_root
}

/// A daemon that listens on `{main}`, and passes to these routes.
pub(crate) fn routed(routes: &str) -> Running {
    let configuration =
        format!(r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}}}, "routes": {routes}}}"#);
    Running::start(&Daemon, &configuration)
}

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    Ended::of(daemon().args(arguments))
}

/// A process that ends with its test, however that ends.
pub(crate) struct Process {
    pub(crate) child: Child,
    directory: TempDir,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name| File::create(directory.path().join(name)).unwrap();
        let child = command.stdout(file("output")).stderr(file("errors"));
        Self {
            child: child.spawn().unwrap(),
            directory,
        }
    }

    /// What it has written to its standard output so far.
    pub(crate) fn output(&self) -> String {
        self.read("output")
    }

    /// What it has written to its standard error so far.
    pub(crate) fn errors(&self) -> String {
        self.read("errors")
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let status = within(LONG, "the process ends", || self.child.try_wait().unwrap());
        Ended {
            code: status.code(),
            output: self.output(),
            errors: self.errors(),
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.directory.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If it has ended already, all the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        Process::spawn(command.stdin(Stdio::null())).ended()
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

//! The daemon under the name of Unit's server, as Unit's tools find it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use test_suite::{FrontEnd, Running, configuration};

use crate::support::{Daemon, Process, daemon};

/// The daemon, started through a symlink with the name `unitd`.
struct AsUnitd;

impl FrontEnd for AsUnitd {
    fn command(&self, directory: &Path) -> Command {
        let daemon = Daemon.command(directory);
        let link = directory.join("unitd");
        if !link.exists() {
            symlink(daemon.get_program(), &link).unwrap();
        }
        let mut command = Command::new(link);
        command.args(daemon.get_args());
        command
    }
}

#[test]
fn the_process_has_the_title_of_units_and_serves_as_usual() {
    let mut server = Running::start(&AsUnitd, &configuration::guests(&["hello"]));
    let folder = format!("/proc/{}", server.pid());
    let command = fs::read_to_string(format!("{folder}/cmdline")).unwrap();
    let title = command.split('\0').next().unwrap();
    let link = server.directory().join("unitd");
    let socket = server.control_socket();
    assert!(
        title.starts_with(&format!("unit: main v1.36.0 [{} ", link.display())),
        "{title}"
    );
    let control = format!(" --control unix:{} ", socket.display());
    assert!(title.contains(&control) && title.ends_with(']'), "{title}");
    let name = fs::read_to_string(format!("{folder}/comm")).unwrap();
    assert_eq!(name, "unitd\n");
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn version_and_help_have_units_form() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(AsUnitd.command(directory.path()).get_program());
        Process::spawn(command.args(arguments).stdin(Stdio::null())).ended()
    };
    let ended = run(&["--version"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.errors.starts_with("unit version: "), "{ended:?}");
    assert!(
        ended
            .errors
            .contains("\nconfigured as ./configure --control=")
    );
    // A path would be a file, of which `unitc` shows what has been added.
    let ended = run(&["--help"]);
    assert!(ended.output.contains("default: \"stderr\""), "{ended:?}");
    let ended = run(&["--control", "unix:/c", "--help"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.output.contains("--control ADDRESS"), "{ended:?}");
    // Commands are the same as under the other name.
    let ended = run(&["check", "/dev/null"]);
    ended.assert_refused("neither a file nor a folder");
    run(&["--nonsense"]).assert_refused("--nonsense");
}

#[test]
fn the_file_of_the_process_says_the_version_of_unit_on_standard_error() {
    let server = Running::start(&AsUnitd, &configuration::guests(&["hello"]));
    let program = fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap();
    assert_ne!(program.file_name().unwrap(), "unitd");
    let mut command = Command::new(program);
    let ended = Process::spawn(command.arg("--version").stdin(Stdio::null())).ended();
    let own = format!("wasmtime-unitd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), &*own));
    let lines: Vec<&str> = ended.errors.lines().collect();
    assert_eq!(lines[0], "unit version: 1.36.0");
    assert!(
        lines[1].starts_with("configured as ./configure "),
        "{lines:?}"
    );
}

#[test]
fn a_closed_pipe_does_not_fail_the_version() {
    let mut shell = Command::new("sh");
    let script = r#"exec 3>&1; { "$0" --version; echo $? >&3; } 2>/dev/null | true"#;
    let program = daemon();
    let output = shell.arg("-c").arg(script).arg(program.get_program());
    let output = output.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");
}

//! Started as `unitd`: what Unit's own tools look for.
//!
//! `unitc` and `unitctl` find the server by the title of its process, and read its flags there:
//! `unit: main v1.36.0 [/usr/sbin/unitd --control …]`. So a program with the name `unitd`, such as a symlink to this
//! one, starts itself again with that title as its first argument. `unitctl` also reads what the program of the process
//! prints for `--version`. That is the file, not the symlink to it, so the program prints it under each of its names.
//! (Writing over the arguments in memory, as Unit does, needs unsafe code, and more room than they may have.)

use std::env;
use std::ffi::{CStr, OsStr, OsString};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::arguments::{CONTROL, STATE};

/// The name of Unit's server.
const NAME: &str = "unitd";

/// The same, for the process's short name, which the tools look for, too.
const SHORT_NAME: &CStr = c"unitd";

/// The version of Unit whose control API and configuration this server has.
const UNIT_VERSION: &str = "1.36.0";

const OWN_VERSION: &str = concat!("wasmtime-unitd ", env!("CARGO_PKG_VERSION"));

/// How the title of the process begins.
const TITLE: &str = "unit: main v";

/// What the first argument says about how this program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartedAs {
    /// By its own name, or any other.
    Itself,
    /// By Unit's.
    Unitd,
    /// By itself, with the title of Unit's process.
    Titled,
}

impl StartedAs {
    fn of(name: &OsStr) -> Self {
        if name.as_encoded_bytes().starts_with(TITLE.as_bytes()) {
            Self::Titled
        } else if Path::new(name).file_name() == Some(OsStr::new(NAME)) {
            Self::Unitd
        } else {
            Self::Itself
        }
    }
}

/// Does what is done differently under Unit's name. Returns an exit code if that was all.
pub(crate) fn start() -> Option<ExitCode> {
    let arguments: Vec<_> = env::args_os().collect();
    let (name, arguments) = arguments.split_first()?;
    match StartedAs::of(name) {
        StartedAs::Itself => {
            if arguments != ["--version"] {
                return None;
            }
            // The reader may have closed it.
            let _ = writeln!(stdout(), "{OWN_VERSION}");
            // For tools alone; a person wants to know the version of this program.
            if !stderr().is_terminal() {
                let _ = write!(stderr(), "{}", version());
            }
            return Some(ExitCode::SUCCESS);
        }
        StartedAs::Titled => {
            // The name of the program would be that of the link in /proc that started it.
            let _ = nix::sys::prctl::set_name(SHORT_NAME);
            return None;
        }
        StartedAs::Unitd => {}
    }
    match arguments.first().and_then(|argument| argument.to_str()) {
        // To standard error, as Unit does.
        Some("--version") => {
            let _ = writeln!(stderr(), "{}{OWN_VERSION}", version());
            return Some(ExitCode::SUCCESS);
        }
        Some("--help" | "-h") => {
            print!("{}", help());
            return Some(ExitCode::SUCCESS);
        }
        // A command serves no control API.
        Some(command) if !command.starts_with('-') => return None,
        _ => {}
    }
    if has_help(arguments) {
        print!("{}", help());
        return Some(ExitCode::SUCCESS);
    }
    let error = Command::new("/proc/self/exe")
        .arg0(title(name, arguments))
        .args(arguments)
        .exec();
    eprintln!(
        "wasmtime-unitd: cannot start with the title of unitd, which its tools look for: {error}"
    );
    None
}

/// `unitc` adds `--help` to the flags of a process.
fn has_help(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "--help")
}

/// The title, with the address of the control API in any case, since the tools look for it.
fn title(name: &OsStr, arguments: &[OsString]) -> OsString {
    let mut title = OsString::from(format!("{TITLE}{UNIT_VERSION} ["));
    title.push(name);
    for argument in arguments {
        title.push(" ");
        title.push(argument);
    }
    let is_control = |argument: &OsString| {
        argument == "--control" || argument.as_encoded_bytes().starts_with(b"--control=")
    };
    if !arguments.iter().any(is_control) {
        title.push(format!(" --control {CONTROL}"));
    }
    title.push("]");
    title
}

/// What Unit prints for `--version`.
fn version() -> String {
    format!(
        "unit version: {UNIT_VERSION}\n\
         configured as ./configure --control={CONTROL} --statedir={STATE} --openssl\n"
    )
}

/// What `unitd --help` prints, in Unit's form, from which `unitc` takes defaults.
fn help() -> String {
    let mut help = String::from("\nunit options:\n");
    for (flag, purpose, default) in [
        (
            "--version",
            "print unit version and configure options",
            None,
        ),
        ("--no-daemon", "has no effect: the server never forks", None),
        (
            "--control ADDRESS",
            "set address of control API socket",
            Some(CONTROL),
        ),
        ("--pid FILE", "set pid filename", Some("")),
        // Not /dev/stderr: `unitc` would take its own, if that is a file, for a log that has grown.
        ("--log FILE", "set log filename", Some("stderr")),
        ("--statedir DIR", "set state directory name", Some(STATE)),
        (
            "--user USER",
            "set user to run as",
            Some("the user who starts the server"),
        ),
        ("--group GROUP", "set group to run as", Some("the user's")),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(help, "\n  {flag:<20} {purpose}");
        if let Some(default) = default {
            let _ = writeln!(help, "  {:<20} default: \"{default}\"", "");
        }
    }
    help.push_str("\nwasmtime-unitd --help describes all options.\n");
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<OsString> {
        texts.iter().map(OsString::from).collect()
    }

    #[test]
    fn only_the_name_unitd_is_taken_for_unit() {
        for (name, expected) in [
            ("unitd", StartedAs::Unitd),
            ("/usr/sbin/unitd", StartedAs::Unitd),
            ("./unitd", StartedAs::Unitd),
            ("/usr/bin/wasmtime-unitd", StartedAs::Itself),
            ("unitd/x", StartedAs::Itself),
            ("", StartedAs::Itself),
            ("unit: main v1.36.0 [unitd]", StartedAs::Titled),
        ] {
            assert_eq!(StartedAs::of(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_title_has_the_flags_and_the_address_of_the_control_api() {
        let title = |arguments: &[&str]| {
            let title = title(OsStr::new("/usr/sbin/unitd"), &strings(arguments));
            title.into_string().unwrap()
        };
        assert_eq!(
            title(&["--control", "unix:/c", "--no-daemon"]),
            "unit: main v1.36.0 [/usr/sbin/unitd --control unix:/c --no-daemon]"
        );
        assert_eq!(
            title(&["--control=unix:/c"]),
            "unit: main v1.36.0 [/usr/sbin/unitd --control=unix:/c]"
        );
        assert_eq!(
            title(&["--log", "/l"]),
            format!("unit: main v1.36.0 [/usr/sbin/unitd --log /l --control {CONTROL}]")
        );
    }

    #[test]
    fn the_version_has_the_lines_that_unitctl_reads() {
        let version = version();
        let line = |start: &str| version.lines().find_map(|line| line.strip_prefix(start));
        assert_eq!(line("unit version: "), Some(UNIT_VERSION));
        let flags = line("configured as ./configure ").unwrap();
        assert!(flags.starts_with(&format!("--control={CONTROL} ")));
    }

    #[test]
    fn the_help_has_defaults_in_quotes_below_their_flags() {
        let help = help();
        let mut lines = help
            .lines()
            .skip_while(|line| !line.contains("--control ADDRESS"));
        let default = lines.nth(1).and_then(|line| line.split('"').nth(1));
        assert_eq!(default, Some(CONTROL));
    }
}

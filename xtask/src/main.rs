//! `cargo xtask …`: the recipes that people and CI run, set-up included.

mod bench;
mod checks;
mod covered;
mod demo;
mod docs;
mod fuzz;
mod release;
mod test;
mod toolchain;
mod toolchains;
mod unit;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  demo    Build the example component and the daemon, serve the one with the other on
          127.0.0.1:8080, and stay until Ctrl-C
  test    Run all that CI runs: formatting, clippy, tests, documentation; with a built tree of
          NGINX Unit, which UNIT_SRC may name, the module for it too
  check   Look for what no compiler refuses: imports in a circle, types of one crate that share a
          name
  toolchains
          Make components with other tool chains, which are installed below target/, and serve them
  release Build the daemon as it is released, optimised by a profile; `cargo xtask release --help`
          says more
  fuzz    Look for texts that break what reads them; `cargo xtask fuzz --help` says more
  bench   Measure the server and its peers side by side; `cargo xtask bench --help` says what
  help    Print this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["demo"] => demo::run(),
        ["test"] => test::run(),
        ["bench", "--help" | "-h"] => {
            print!("{}", bench::help());
            Ok(())
        }
        ["check"] => checks::run(),
        ["fuzz", "--help" | "-h"] => {
            print!("{}", fuzz::HELP);
            Ok(())
        }
        ["fuzz", ref arguments @ ..] => fuzz::command(arguments),
        ["release"] => release::command(),
        ["release", "--help" | "-h"] => {
            print!("{}", release::HELP);
            Ok(())
        }
        ["bench", ref arguments @ ..] => bench::run(arguments),
        ["toolchains"] => toolchains::run().map(drop),
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!(
                "xtask: unknown arguments: {}\n\n{HELP}",
                arguments.join(" ")
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The top folder of this repository.
fn root() -> &'static Path {
    // This crate is one folder below it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The cargo that runs this task.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What describes this crate, and is not there when people call cargo themselves: build scripts
    // that look at it (ring's does) would run again each time the two take turns.
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| is_of_this_crate(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

/// Whether cargo sets this variable for the program that it runs.
fn is_of_this_crate(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// Runs a command to its end, and says what it is for and how long it took.
///
/// # Errors
///
/// When it cannot be started or does not succeed.
fn step(name: &str, command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("\nxtask: {name}: {line}");
    let started = Instant::now();
    run(command).with_context(|| name.to_owned())?;
    println!(
        "xtask: {name}: passed in {} seconds",
        started.elapsed().as_secs()
    );
    Ok(())
}

/// A command as one would type it. (Its own form of debugging has all variables that are removed.)
fn line(command: &Command) -> String {
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    let set = |(name, value): (&OsStr, Option<&OsStr>)| {
        value.map(|value| format!("{}={}", text(name), text(value)))
    };
    let mut words: Vec<_> = command.get_envs().filter_map(set).collect();
    words.push(text(command.get_program()));
    words.extend(command.get_args().map(text));
    words.join(" ")
}

/// Runs a command to its end.
///
/// # Errors
///
/// When it cannot be started or does not succeed.
fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_called_as_people_call_it() {
        let command = cargo();
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name)
            .collect();
        assert!(removed.iter().any(|name| *name == "CARGO_MANIFEST_DIR"));
        assert!(!is_of_this_crate("CARGO_HOME") && !is_of_this_crate("CARGO_TARGET_DIR"));
    }
}

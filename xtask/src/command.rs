//! Commands as this task starts them, and the folders that they work in.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// The top folder of this repository.
pub(crate) fn root() -> &'static Path {
    // This crate is one folder below it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
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
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
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
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// What a command that succeeds prints.
///
/// # Errors
///
/// When it cannot be started, does not succeed, or prints something else than text.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed: {}: {}", output.status, error.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("what `{line}` prints"))
}

/// What the compiler of this repository says.
///
/// # Errors
///
/// When it cannot be started, or does not succeed.
pub(crate) fn rustc(arguments: &[&str]) -> Result<String> {
    output(Command::new("rustc").args(arguments).current_dir(root()))
}

/// Whether this machine has a program, which knows `--version`.
pub(crate) fn has_program(name: &str) -> bool {
    let version = Command::new(name).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// The first line that a program prints about its version. `wrk` ends with an error when it has.
pub(crate) fn version_line(program: impl AsRef<OsStr>, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    // `wrk` tells of its copyright in the same line.
    line.split(" Copyright")
        .next()
        .unwrap_or_default()
        .to_owned()
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

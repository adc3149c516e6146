//! What the figures come from.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Result, bail};

use super::peer;

/// Says what machine this is.
///
/// # Errors
///
/// When it has not two cores, one for the server and one for the load.
pub(super) fn describe() -> Result<String> {
    let cores = thread::available_parallelism()?;
    if cores.get() < 2 {
        bail!("this machine has one core; the server and the load need one each");
    }
    Ok(format!(
        "{cores} cores, {}; Linux {}; {}; {}; {}",
        model(),
        kernel(),
        line("rustc", "-V"),
        line("wrk", "-v"),
        peer::describe()?
    ))
}

fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("of an unknown kind", |rest| {
        rest.trim_start_matches([' ', '\t', ':'])
    });
    model.to_owned()
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// The first line that a program prints about its version. `wrk` ends with an error when it has.
pub(super) fn line(program: impl AsRef<OsStr>, flag: &str) -> String {
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

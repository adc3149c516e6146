//! What the figures come from.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use super::peer;
use crate::command::version_line;

/// How many cores there are.
///
/// # Errors
///
/// When the system does not say.
pub(super) fn cores() -> Result<usize> {
    Ok(thread::available_parallelism()?.get())
}

/// Runs `work` in a thread that stays on this core, as those do that it starts.
///
/// # Errors
///
/// Those of `work`, and those of the system.
pub(super) fn on_core<T: Send>(core: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let pinned = scope.spawn(move || {
            let mut cores = CpuSet::new();
            cores.set(core)?;
            // Of this thread.
            sched_setaffinity(Pid::from_raw(0), &cores)?;
            work()
        });
        pinned.join().map_err(|_| anyhow!("the load panicked"))?
    })
}

/// Has this thread, and those that it starts, run only where the others of its core leave it time.
///
/// # Errors
///
/// When `renice` fails.
pub(super) fn lower_priority() -> Result<()> {
    let thread = gettid().to_string();
    let mut renice = Command::new("renice");
    let status = renice
        .args(["-n", "10", "-p", &thread])
        .stdout(Stdio::null())
        .status()
        .context("cannot start renice")?;
    ensure!(status.success(), "renice: {status}");
    Ok(())
}

/// Says what machine this is.
///
/// # Errors
///
/// When it has not two cores, one for the server and one for the load.
pub(super) fn describe() -> Result<String> {
    let cores = cores()?;
    if cores < 2 {
        bail!("this machine has one core; the server and the load need one each");
    }
    Ok(format!(
        "{cores} cores, {}; Linux {}; {}; {}; {}",
        model(),
        kernel(),
        version_line("rustc", "-V"),
        version_line("wrk", "-v"),
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

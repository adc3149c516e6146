//! The processes of a server.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether the process is running. A zombie is not.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    parent(pid).is_some()
}

/// The command line, which unitd's processes set to their names.
#[must_use]
pub fn name(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .trim_end_matches('\0')
        .replace('\0', " ")
}

/// The process and its descendants, parents first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all()
        .filter_map(|pid| parent(pid).map(|parent| (pid, parent)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        tree.extend(children.map(|(pid, _)| pid));
        next += 1;
    }
    tree.retain(|pid| is_running(*pid));
    tree
}

/// Kills all processes that have a file in this folder open, also those that are no longer descendants
/// of the server.
pub(crate) fn end_all_in(folder: &Path) {
    const LIMIT: Duration = Duration::from_secs(5);
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let mut pids = all().filter(|pid| *pid != std::process::id() && has_open(*pid, folder));
        let Some(first) = pids.next() else {
            return;
        };
        for pid in pids.chain([first]) {
            // Fails if the process has just ended.
            let _ = send(pid, Signal::SIGKILL);
        }
        sleep(Duration::from_millis(5));
    }
}

fn has_open(pid: u32, folder: &Path) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        // It has ended, or belongs to another user.
        return false;
    };
    let mut files = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    files.any(|file| file.starts_with(folder))
}

/// Sends a signal.
///
/// # Errors
///
/// When there is no such process.
pub fn send(pid: u32, signal: Signal) -> nix::Result<()> {
    kill(Pid::from_raw(pid.cast_signed()), signal)
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The parent of a process that has not ended (proc(5), stat).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // From the right: the name before may contain spaces and brackets.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.next()?.parse().ok()
}

//! Programs in Linux namespaces of their own: all ports are free for them, they see no other process, and all of them
//! end with the first. Nothing of the machine's network is changed.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::toolchains::place::{Failure, Step};

/// How long a program may run, in seconds.
const LIMIT: &str = "300";

/// Whether this user may make namespaces here.
///
/// # Errors
///
/// When there is no `unshare`, or the system refuses.
pub(super) fn require() -> Step {
    let mut attempt = command("true");
    let output = attempt.stdin(Stdio::null()).output().map_err(|error| {
        Failure::NotHere(format!("no unshare on this machine (util-linux): {error}"))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::NotHere(format!(
            "no namespaces for this user: {}",
            said.trim()
        )));
    }
    Ok(())
}

/// A program in namespaces for the network, processes and mounts. The loopback interface is down.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args([LIMIT, "unshare"]);
    if !Uid::effective().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(program);
    command
}

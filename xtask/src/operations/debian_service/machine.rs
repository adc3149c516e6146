//! A Debian with a real systemd, in a container that is gone after the test. Its release is that of this machine, since
//! the package is built for the C library of that.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::command::has_program;
use crate::operations::wait::within;
use crate::toolchains::place::{Failure, Place, Step};

/// What is installed beside the packages that each Debian has.
const PACKAGES: &str = "systemd-sysv,dbus,curl,ca-certificates,logrotate";

/// How long a command may take, in seconds, and how long the system may take to start.
const COMMAND: &str = "180";
const START: Duration = Duration::from_secs(60);

/// The folder that is shared with the machine, as it is there.
pub(super) const SHARED: &str = "/srv/test";

/// A machine that runs. Dropping it removes it.
pub(super) struct Machine {
    name: String,
    shared: TempDir,
}

impl Machine {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When this machine has not got what that needs.
    pub(super) fn start() -> Step<Self> {
        let runtime = require_tools()?;
        let root = root()?;
        let shared = tempfile::tempdir()?;
        // The user of the service reads components there.
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755))?;
        let machine = Self {
            name: format!("wasmtime-unitd-test-{}", std::process::id()),
            shared,
        };
        let mut run = podman();
        run.args(["run", "--detach", "--name", &machine.name]);
        run.args(["--systemd=always", "--network=none", "--hostname=test"]);
        // What systemd needs to make the sandbox of a unit.
        run.args(["--cap-add", "SYS_ADMIN"]);
        run.args(["--security-opt", "seccomp=unconfined"]);
        run.args(["--security-opt", "unmask=ALL"]);
        run.args(["--cgroup-manager", "cgroupfs", "--runtime", runtime]);
        let shared = machine.shared.path().display();
        run.arg("--volume").arg(format!("{shared}:{SHARED}"));
        // What is changed is gone with the container.
        run.arg("--rootfs").arg(format!("{}:O", root.display()));
        let output = run
            .arg("/sbin/init")
            .output()
            .context("cannot start podman")?;
        if !output.status.success() {
            let reason = last_line(&output);
            return Err(Failure::NotHere(format!(
                "podman starts no container: {reason}"
            )));
        }
        let started = within(START, "the start of systemd", || {
            let state = machine.try_run("systemctl is-system-running")?;
            let is_up = ["running", "degraded"].contains(&text(&state.stdout).as_str());
            Ok(is_up.then_some(()))
        });
        // Not all systems that have podman let systemd run in its containers.
        started
            .map_err(|error| Failure::NotHere(format!("no systemd in a container: {error:#}")))?;
        Ok(machine)
    }

    /// The folder that is shared with the machine, as it is here.
    pub(super) fn shared(&self) -> &Path {
        self.shared.path()
    }

    /// The id of its first process.
    pub(super) fn process(&self) -> Result<u32> {
        let mut inspect = podman();
        inspect.args(["inspect", "--format", "{{.State.Pid}}", &self.name]);
        let output = inspect.output()?;
        text(&output.stdout).parse().context("podman inspect")
    }

    /// What a script of the shell prints that succeeds.
    pub(super) fn run(&self, script: &str) -> Result<String> {
        let output = self.try_run(script)?;
        if !output.status.success() {
            bail!(
                "`{script}` failed: {}\n{}\n{}",
                output.status,
                text(&output.stdout),
                text(&output.stderr)
            );
        }
        Ok(text(&output.stdout))
    }

    /// The outcome of a script of the shell.
    pub(super) fn try_run(&self, script: &str) -> Result<Output> {
        let mut exec = podman();
        exec.args([
            "exec",
            "--env",
            "DEBIAN_FRONTEND=noninteractive",
            &self.name,
        ]);
        exec.args(["sh", "-ec", script]);
        exec.output().context("cannot start podman")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut remove = podman();
        // There may be none.
        let _ = remove
            .args(["rm", "--force", "--time=0", &self.name])
            .output();
    }
}

fn podman() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", COMMAND, "podman"]);
    command.stdin(Stdio::null());
    command
}

/// What this needs, and podman does not bring. Gives the runtime of containers.
fn require_tools() -> Step<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::NotHere("needs root, to make a Debian".to_owned()));
    }
    let runtime = ["runc", "crun"]
        .into_iter()
        .find(|runtime| has_program(runtime));
    match runtime {
        Some(runtime) if has_program("podman") && has_program("debootstrap") => Ok(runtime),
        _ => {
            let reason = "no podman, runc or debootstrap on this machine (on Debian: apt-get \
                          install podman runc debootstrap)";
            Err(Failure::NotHere(reason.to_owned()))
        }
    }
}

/// The files of the system, which are made once.
fn root() -> Step<PathBuf> {
    let place = Place::new("debian-systemd")?;
    let root = place.folder.join("root");
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let Some(release) = codename(&release) else {
        let reason = "no VERSION_CODENAME in /etc/os-release: not a release of Debian";
        return Err(Failure::NotHere(reason.to_owned()));
    };
    place.once("installed", &format!("{release}\n{PACKAGES}"), || {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
        }
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", "--include", PACKAGES, release]);
        let what = "making a Debian with systemd";
        match place.install(what, debootstrap.arg(&root)) {
            // Whatever the reason is: there is no Debian to test in.
            Err(Failure::Broken(error)) => Err(Failure::NotHere(format!("{error:#}"))),
            installed => installed,
        }
    })?;
    Ok(root)
}

/// The name of the release in the text of /etc/os-release.
fn codename(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    let name = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    let name = name.trim_matches('"');
    (!name.is_empty()).then_some(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn last_line(output: &Output) -> String {
    let text = text(&output.stderr);
    text.lines().last().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_with_and_without_quotes() {
        assert_eq!(
            codename("ID=debian\nVERSION_CODENAME=bookworm\n"),
            Some("bookworm")
        );
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n"), Some("noble"));
        assert_eq!(codename("ID=arch\nVERSION_CODENAME=\n"), None);
    }
}

//! Starts servers as `docs/operations.md` says: each in a container where podman works, else as a plain process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown, geteuid};

use super::wait::within;
use crate::command::{has_program, output, target};
use crate::containers::ContainerTools;

/// The user of containers, as in the image.
const USER: u32 = 65532;

/// How long a server may take to end.
const STOP: Duration = Duration::from_secs(60);

/// Files of the servers in a folder, and how they are started.
pub(super) struct Launcher {
    /// It has `apps` and `cache`, and a folder for the configuration of each server.
    folder: PathBuf,
    daemon: PathBuf,
    containers: Option<ContainerTools>,
}

impl Launcher {
    /// Prepares the folder for the daemon of the tests. Gives also why it uses no containers, if so.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written to.
    pub(super) fn new(folder: &Path) -> Result<(Self, Option<String>)> {
        for name in ["apps", "cache", "podman", "trial"] {
            create(&folder.join(name))?;
        }
        let mut launcher = Self {
            folder: folder.to_owned(),
            daemon: target().join("debug/wasmtime-unitd"),
            containers: None,
        };
        // Others may not enter a folder of compiled components.
        let cache = folder.join("cache");
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o700))?;
        let reason = launcher.try_containers().err();
        if reason.is_none() && geteuid().is_root() {
            let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
            chown(&cache, Some(user), Some(group))?;
        }
        Ok((launcher, reason.map(|reason| format!("{reason:#}"))))
    }

    fn try_containers(&mut self) -> Result<()> {
        if !has_program("podman") {
            bail!("no podman on this machine (on Debian: apt-get install podman runc)");
        }
        let root = self.root();
        create(&root)?;
        let mut files = vec![self.daemon.clone()];
        files.extend(libraries(&output(Command::new("ldd").arg(&self.daemon))?));
        for file in &files {
            let name = if *file == self.daemon {
                Path::new("wasmtime-unitd")
            } else {
                file.strip_prefix("/")?
            };
            let copy = root.join(name);
            create(copy.parent().unwrap_or(&root))?;
            fs::copy(file, copy).with_context(|| file.display().to_string())?;
        }
        let tools = ContainerTools::new(&self.folder.join("podman"))?;
        let mut trial = self.container(&tools, "trial", "trial");
        let said = output(trial.arg("--version")).context("podman cannot run a container")?;
        ensure!(said.contains("wasmtime-unitd"), "the daemon says {said:?}");
        self.containers = Some(tools);
        Ok(())
    }

    /// Containers or processes: what servers are.
    pub(super) fn kind(&self) -> &'static str {
        match self.containers {
            Some(_) => "containers",
            None => "processes",
        }
    }

    /// Starts a server, under a name that no other has, with the configuration in a folder. What it prints is added to
    /// the log.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(
        &self,
        name: &str,
        config: &str,
        health: SocketAddr,
        shutdown_delay: u32,
    ) -> Result<ServerProcess> {
        let mut command = match &self.containers {
            Some(tools) => self.container(tools, name, config),
            None => Command::new(&self.daemon),
        };
        command.arg("--config").arg(self.folder.join(config));
        command.args(["--control", &format!("unix:@{name}-{}", health.port())]);
        command.arg("--cachedir").arg(self.folder.join("cache"));
        command.args(["--listen-health", &health.to_string()]);
        command.args(["--shutdown-delay", &shutdown_delay.to_string()]);
        let log = self.folder.join(format!("{config}.log"));
        let log = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let container = self.containers.clone();
        Ok(ServerProcess {
            child,
            container: container.map(|tools| (tools, name.to_owned())),
        })
    }

    /// The daemon in a container that has nothing else: its arguments are to be added.
    fn container(&self, tools: &ContainerTools, name: &str, config: &str) -> Command {
        let mut podman = tools.command("podman");
        podman.args(["run", "--rm", "--name", name, "--network", "host"]);
        podman.args(["--read-only", "--cap-drop=all"]);
        podman.args(["--user", &USER.to_string()]);
        if !geteuid().is_root() {
            // So that the files of the user who runs this are those of the server's user.
            podman.arg(format!("--userns=keep-id:uid={USER},gid={USER}"));
        }
        for (folder, options) in [(config, ":ro"), ("apps", ":ro"), ("cache", "")] {
            let folder = self.folder.join(folder);
            let folder = folder.display();
            podman.args(["--volume", &format!("{folder}:{folder}{options}")]);
        }
        podman.arg("--rootfs").arg(self.root());
        podman.arg("/wasmtime-unitd");
        podman
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }
}

/// A running server. Dropping it ends it.
pub(super) struct ServerProcess {
    child: Child,
    /// Its container, by name.
    container: Option<(ContainerTools, String)>,
}

impl ServerProcess {
    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end in time, or not with 0.
    pub(super) fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server has ended before it is asked to: {status}");
        }
        match &self.container {
            Some((tools, name)) => {
                let seconds = STOP.as_secs().to_string();
                let mut stop = tools.command("podman");
                output(stop.args(["stop", "--time", &seconds, name]))?;
            }
            None => kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?,
        }
        let status = within(STOP, "the end of a server", || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "the server ends with {status}");
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        if let Some((tools, name)) = &self.container {
            let mut remove = tools.command("podman");
            let _ = remove.args(["rm", "--force", "--time", "0", name]).output();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The files that `ldd` names.
fn libraries(text: &str) -> Vec<PathBuf> {
    let words = text.split_whitespace();
    let paths = words.filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_by_their_paths() {
        let text = "\tlinux-vdso.so.1 (0x00007f60d829b000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f60d421e000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f60d829d000)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(text), expected.map(PathBuf::from));
        assert_eq!(
            libraries("\tnot a dynamic executable\n"),
            Vec::<PathBuf>::new()
        );
    }
}

//! The Debian package as a service of a real systemd: install, configure, reload, restart, crash, rotate logs, upgrade,
//! remove.

mod machine;
mod requests;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::machine::{Machine, SHARED};
use self::requests::{Answers, MachineClient};
use super::wait::within;
use crate::guests;
use crate::package::{debian, service};
use crate::toolchains::place::{Failure, Step};

/// A text in the answer of each of two components, which stand for two versions of one.
const OLD: &str = "Welcome to the component model";
const NEW: &str = "Hello, world!";

/// How long systemd and the server may take for what they do by themselves.
const LIMIT: Duration = Duration::from_secs(60);

/// How often the server is restarted under load.
const RESTARTS: usize = 5;

/// After so many starts within 10 seconds, systemd gives up, unless the unit says otherwise.
const START_LIMIT: u32 = 5;

/// Of the package that is upgraded to; the first one has 1.
const UPGRADE: &str = "2";

const FLAGS: &str = "\
[Service]
ExecStart=
ExecStart=/usr/bin/wasmtime-unitd --config /etc/wasmtime-unitd/conf.d
Group=unit-conf
";

const SHORT_WATCHDOG: &str = "[Service]\nWatchdogSec=2s\n";

/// Runs the test; gives what was left out.
///
/// # Errors
///
/// When the service does not work as documented.
pub(super) fn test() -> Result<Option<String>> {
    match try_test() {
        Ok(()) => Ok(None),
        Err(Failure::NotHere(reason)) => {
            Ok(Some(format!("the Debian package under systemd: {reason}")))
        }
        Err(Failure::Broken(error)) => Err(error.context("the Debian package under systemd")),
    }
}

fn try_test() -> Step {
    let machine = Machine::start()?;
    let prepared = debian::prepare("dev")?;
    let package = prepared.pack("1", machine.shared())?;
    let upgrade = prepared.pack(UPGRADE, machine.shared())?;
    let (old, new) = (guests::example()?, guests::hello()?);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let test = Test {
        client: MachineClient::new(machine.process()?, address, &[OLD, NEW])?,
        machine,
        old,
        new,
    };
    let outcome = test.run(&package, &upgrade);
    Ok(outcome.with_context(|| test.journal())?)
}

struct Test {
    machine: Machine,
    client: MachineClient,
    old: PathBuf,
    new: PathBuf,
}

impl Test {
    fn run(&self, package: &Path, upgrade: &Path) -> Result<()> {
        self.install(package)?;
        self.configure()?;
        self.replace_the_component()?;
        self.restart()?;
        self.crash()?;
        self.hang()?;
        self.rotate_logs()?;
        self.configure_by_files()?;
        self.upgrade(upgrade)?;
        self.remove(package)
    }

    fn install(&self, package: &Path) -> Result<()> {
        begin("install");
        self.install_package(package)?;
        for (property, value) in [
            ("ActiveState", "active"),
            ("Type", "notify"),
            ("NRestarts", "0"),
            ("UnitFileState", "enabled"),
            ("WatchdogUSec", "1min"),
        ] {
            let is = self.property(property)?;
            ensure!(
                is == value,
                "{property} of the service is {is}, not {value}"
            );
        }
        let status = self.sh("systemctl status --no-pager wasmtime-unitd")?;
        ensure!(
            status.contains("Status: \""),
            "no status of the server: {status}"
        );
        let sockets = "systemctl is-enabled wasmtime-unitd-listeners.socket || true";
        let sockets = self.sh(sockets)?;
        ensure!(sockets == "disabled", "the sockets are {sockets}");
        service::check_exposure(&self.sh("systemd-analyze security --no-pager wasmtime-unitd")?)?;

        let log = "journalctl --sync; journalctl --quiet --output cat --identifier wasmtime-unitd";
        let log = self.sh(log)?;
        let lines_are_bare = log.lines().all(|line| line.starts_with("[info] "));
        ensure!(
            !log.is_empty() && lines_are_bare,
            "lines with times or priorities: {log}"
        );
        self.require_no_warnings()
    }

    fn configure(&self) -> Result<()> {
        begin("configure by the control API");
        self.put_component(&self.old)?;
        let configuration = format!(
            r#"{{"listeners": {{"*:80": {{"pass": "applications/app"}}}},
                "applications": {{"app": {{"type": "wasm-wasi-component", "component": "{SHARED}/app.wasm"}}}},
                "access_log": "/var/log/wasmtime-unitd/access.log"}}"#
        );
        fs::write(self.machine.shared().join("config.json"), configuration)?;
        self.sh(&format!(
            "curl -sS --fail-with-body -X PUT --data-binary @{SHARED}/config.json \
             --unix-socket /run/wasmtime-unitd/control.sock http://localhost/config/"
        ))?;
        self.require_answer(OLD)?;
        self.wait_for_status("\"ready\"")
    }

    fn replace_the_component(&self) -> Result<()> {
        begin("replace the component under load");
        let load = self.client.begin("/");
        self.put_component(&self.new)?;
        self.sh("systemctl reload wasmtime-unitd")?;
        // The command returns when the component is loaded.
        self.require_answer(NEW)?;
        require(&load.end()?, &[OLD, NEW])
    }

    fn restart(&self) -> Result<()> {
        begin("restart");
        self.sh("systemctl restart wasmtime-unitd")?;
        self.require_answer(NEW)?;

        begin("restart under load, with the sockets of systemd");
        self.sh("systemctl enable wasmtime-unitd-listeners.socket")?;
        self.sh("systemctl restart wasmtime-unitd")?;
        let load = self.client.begin("/");
        for _ in 0..RESTARTS {
            self.sh("systemctl restart wasmtime-unitd")?;
            self.require_answer(NEW)?;
        }
        require(&load.end()?, &[NEW])?;
        self.require_no_warnings()
    }

    fn crash(&self) -> Result<()> {
        begin("crash");
        let configuration = self.configuration()?;
        let process = self.property("MainPID")?;
        self.sh("systemctl kill --signal KILL wasmtime-unitd")?;
        self.wait_for_another(&process)?;
        // The control socket is there again as well.
        ensure!(
            self.configuration()? == configuration,
            "another configuration"
        );
        self.require_answer(NEW)
    }

    fn hang(&self) -> Result<()> {
        begin("hang");
        self.drop_in(Some(SHORT_WATCHDOG))?;
        let process = self.property("MainPID")?;
        self.sh("systemctl kill --signal STOP wasmtime-unitd")?;
        self.wait_for_another(&process)?;
        let watchdog =
            "journalctl --sync; journalctl --quiet --output cat --grep 'Watchdog timeout'";
        self.sh(watchdog)?;
        self.require_answer(NEW)?;
        self.drop_in(None)
    }

    fn rotate_logs(&self) -> Result<()> {
        begin("rotate logs under load");
        let lines = || -> Result<usize> {
            let count =
                "zcat --force /var/log/wasmtime-unitd/access.log* | grep --count 'GET /rotated '";
            Ok(self.sh(&format!("{count} || true"))?.parse::<usize>()?)
        };
        let load = self.client.begin("/rotated");
        for _ in 0..3 {
            let before = lines()?;
            wait_for("lines of the access log", || Ok(lines()? > before))?;
            self.sh("logrotate --force /etc/logrotate.d/wasmtime-unitd")?;
        }
        let requests = load.end()?.values().sum::<usize>();
        wait_for("the whole access log", || Ok(lines()? >= requests))?;
        let lines = lines()?;
        ensure!(lines == requests, "{lines} lines of {requests} requests");
        // The newest, the one before it, and a compressed one.
        self.sh("cd /var/log/wasmtime-unitd; test -s access.log -a -s access.log.1 -a -s access.log.3.gz")?;
        // As the timer does it: in a sandbox of its own.
        self.sh("systemctl start logrotate.service").map(drop)
    }

    fn configure_by_files(&self) -> Result<()> {
        begin("configure by files");
        let kept = self.configuration()?;
        self.sh("groupadd --system unit-conf
             install --directory --group unit-conf --mode 0750 /etc/wasmtime-unitd/conf.d")?;
        self.copy_component(&self.old, "old.wasm")?;
        self.copy_component(&self.new, "new.wasm")?;
        self.put_file(&files_configuration("old.wasm"))?;
        self.drop_in(Some(FLAGS))?;
        self.require_answer(OLD)?;
        self.put_file(&files_configuration("new.wasm"))?;
        wait_for("the changed file", || Ok(self.client.get("/")? == NEW))?;

        self.put_file("{ broken")?;
        self.sh("systemctl reload wasmtime-unitd")?;
        self.wait_for_status("\"ready, but the configuration's files are not in force")?;
        self.require_answer(NEW)?;
        self.require_error("[error] cannot use the configuration")?;

        begin("start with a broken file, which is fixed while a client waits");
        self.sh("! systemctl restart wasmtime-unitd")?;
        self.require_error("wasmtime-unitd: cannot use the configuration")?;
        let load = self.client.begin("/");
        wait_for("starts in vain", || {
            Ok(self.property("NRestarts")?.parse::<u32>()? > START_LIMIT)
        })?;
        self.put_file(&files_configuration("old.wasm"))?;
        self.require_answer(OLD)?;
        require(&load.end()?, &[OLD])?;
        self.wait_for_status("\"ready\"")?;

        self.put_file(&files_configuration("new.wasm"))?;
        self.sh("systemctl reload wasmtime-unitd")?;
        self.require_answer(NEW)?;

        self.drop_in(None)?;
        ensure!(
            self.configuration()? == kept,
            "the kept configuration has changed"
        );
        self.sh("rm -r /etc/wasmtime-unitd/conf.d
             rmdir --ignore-fail-on-non-empty /etc/wasmtime-unitd
             groupdel unit-conf")?;
        self.require_answer(NEW)
    }

    fn upgrade(&self, package: &Path) -> Result<()> {
        begin("upgrade under load");
        let configuration = self.configuration()?;
        let process = self.property("MainPID")?;
        let load = self.client.begin("/");
        self.install_package(package)?;
        let version = self.sh("dpkg-query --show --showformat '${Version}' wasmtime-unitd")?;
        ensure!(
            version.ends_with(&format!("-{UPGRADE}")),
            "the version is {version}"
        );
        ensure!(
            self.property("MainPID")? != process,
            "the server was not restarted"
        );
        ensure!(
            self.configuration()? == configuration,
            "another configuration"
        );
        self.require_answer(NEW)?;
        require(&load.end()?, &[NEW])
    }

    fn remove(&self, package: &Path) -> Result<()> {
        begin("remove and purge");
        // A client that connects meanwhile must not start the service again. It is refused at some time.
        let load = self.client.begin("/");
        self.sh("apt-get remove --yes wasmtime-unitd")?;
        ensure!(
            load.end().is_err(),
            "clients are answered after the removal"
        );
        let processes = self.sh("cat /proc/[0-9]*/comm | grep --count ^wasmtime-unitd || true")?;
        ensure!(processes == "0", "{processes} processes are left");

        self.install_package(package)?;
        self.require_answer(NEW)?;
        self.sh("apt-get purge --yes wasmtime-unitd")?;
        let left = format!(
            "find / /run /tmp /var/log/journal -xdev -path {SHARED} -prune -o -name '*wasmtime-unitd*' -print || true
             grep wasmtime-unitd /etc/passwd /etc/group || true
             systemctl list-unit-files --no-legend 'wasmtime-unitd*' || true
             systemctl list-units --all --no-legend 'wasmtime-unitd*' || true"
        );
        let left = self.sh(&left)?;
        ensure!(left.is_empty(), "left after the purge: {left}");
        Ok(())
    }

    fn sh(&self, script: &str) -> Result<String> {
        self.machine.run(script)
    }

    fn install_package(&self, package: &Path) -> Result<()> {
        let name = package.file_name().unwrap_or_default().display();
        // An older one as well.
        let flags = "--yes --no-install-recommends --allow-downgrades";
        self.sh(&format!("apt-get install {flags} {SHARED}/{name}"))
            .map(drop)
    }

    fn property(&self, name: &str) -> Result<String> {
        self.sh(&format!(
            "systemctl show --property {name} --value wasmtime-unitd"
        ))
    }

    fn wait_for_status(&self, beginning: &str) -> Result<()> {
        wait_for("the status of the server", || {
            let status = self.sh("systemctl status --no-pager wasmtime-unitd")?;
            Ok(status.contains(&format!("Status: {beginning}")))
        })
    }

    /// Waits until the server is ready in another process than this one.
    fn wait_for_another(&self, process: &str) -> Result<()> {
        wait_for("another process", || {
            let other = self.property("MainPID")?;
            Ok(other != process && self.property("ActiveState")? == "active")
        })
    }

    fn require_answer(&self, expected: &str) -> Result<()> {
        let answer = self.client.get("/")?;
        ensure!(
            answer == expected,
            "the answer is {answer:?}, not {expected:?}"
        );
        Ok(())
    }

    fn require_no_warnings(&self) -> Result<()> {
        let warnings = "journalctl --sync; journalctl --quiet --output cat --priority warning \
                        --unit wasmtime-unitd";
        let warnings = self.sh(warnings)?;
        ensure!(warnings.is_empty(), "warnings in the journal: {warnings}");
        Ok(())
    }

    fn require_error(&self, text: &str) -> Result<()> {
        let errors = "journalctl --sync; journalctl --quiet --output cat --priority err \
                      --identifier wasmtime-unitd";
        let errors = self.sh(errors)?;
        ensure!(
            errors.contains(text),
            "no error {text:?} in the journal: {errors}"
        );
        Ok(())
    }

    /// The kept configuration, by the control API.
    fn configuration(&self) -> Result<String> {
        let socket = "/run/wasmtime-unitd/control.sock";
        self.sh(&format!(
            "curl -sS --fail --unix-socket {socket} http://localhost/config"
        ))
    }

    /// Replaces the component that is served, by a rename.
    fn put_component(&self, component: &Path) -> Result<()> {
        self.copy_component(component, "next.wasm")?;
        let folder = self.machine.shared();
        Ok(fs::rename(
            folder.join("next.wasm"),
            folder.join("app.wasm"),
        )?)
    }

    fn copy_component(&self, component: &Path, name: &str) -> Result<()> {
        fs::copy(component, self.machine.shared().join(name))
            .with_context(|| component.display().to_string())?;
        Ok(())
    }

    /// Replaces the file of the configuration, which the server's group alone may read.
    fn put_file(&self, text: &str) -> Result<()> {
        fs::write(self.machine.shared().join("site.json"), text)?;
        let folder = "/etc/wasmtime-unitd/conf.d";
        self.sh(&format!(
            "install --group unit-conf --mode 0640 {SHARED}/site.json {folder}/.next
             mv {folder}/.next {folder}/site.json"
        ))
        .map(drop)
    }

    /// Replaces the drop-in of the service, and restarts it.
    fn drop_in(&self, text: Option<&str>) -> Result<()> {
        let folder = "/etc/systemd/system/wasmtime-unitd.service.d";
        let change = match text {
            Some(text) => {
                fs::write(self.machine.shared().join("override.conf"), text)?;
                format!("mkdir {folder}; cp {SHARED}/override.conf {folder}/")
            }
            None => format!("rm -r {folder}"),
        };
        self.sh(&format!(
            "{change}; systemctl daemon-reload; systemctl restart wasmtime-unitd"
        ))
        .map(drop)
    }

    /// The end of what the service has logged.
    fn journal(&self) -> String {
        let journal = self
            .machine
            .try_run("journalctl --no-pager --lines 40 --unit wasmtime-unitd");
        let text = journal.map(|output| output.stdout).unwrap_or_default();
        format!("the journal ends with:\n{}", String::from_utf8_lossy(&text))
    }
}

/// Waits until a condition holds.
fn wait_for(what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
    within(LIMIT, what, || Ok(condition()?.then_some(())))
}

fn begin(what: &str) {
    println!("xtask: Debian service: {what}");
}

/// The configuration of a file: no socket of systemd is needed for it, and one is used.
fn files_configuration(component: &str) -> String {
    format!(
        r#"{{"listeners": {{"*:80": {{"pass": "applications/files"}}}},
            "applications": {{"files": {{"type": "wasm-wasi-component", "component": "{SHARED}/{component}"}}}}}}"#
    )
}

fn require(answers: &Answers, expected: &[&str]) -> Result<()> {
    let came: Vec<_> = answers.keys().copied().collect();
    let all = expected
        .iter()
        .all(|expected| answers.contains_key(expected));
    ensure!(
        all && came.len() == expected.len(),
        "the answers were {came:?}, not {expected:?}"
    );
    Ok(())
}

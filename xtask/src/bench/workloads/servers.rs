//! The servers that workloads measure, on the cores where they run, and what is found of them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::super::built::Built;
use super::super::peer;
use super::super::report::Report;
use crate::server::Server;

/// The core of the server that is measured, and that of all else.
pub(super) const SERVER: &str = "0";
pub(super) const SERVER_CORE: usize = 0;
pub(super) const REST: &str = "1";
pub(super) const REST_CORE: usize = 1;

/// How long a server answers before it counts, in seconds: its first requests cost more.
pub(super) const WARM_UP: u32 = 1;

/// Names of rows.
pub(super) const OURS: &str = "wasmtime-unitd";
pub(super) const THEIRS: &str = "wasmtime serve";

/// Another build of the same, in [`BESIDE`](super::BESIDE).
pub(super) const BEFORE: &str = "wasmtime-unitd before";

/// What a workload has measured.
#[derive(Default)]
pub(in super::super) struct Findings {
    pub(in super::super) reports: Vec<Report>,
    /// How the figures compare with what is wanted of them, and figures that need no table.
    pub(in super::super) remarks: Vec<String>,
}

/// `wasmtime serve` with these flags, once it answers requests with these fields.
pub(super) fn theirs(guest: &Path, flags: &[&str], fields: &[String]) -> Result<Server> {
    let start = Server::start(&peer::wasmtime()?, SERVER, |command, address, _| {
        command.args(["serve", "-Scli", "-Wcomponent-model-async", "--addr"]);
        command.arg(address.to_string()).args(flags).arg(guest);
    });
    start?.ready(fields)
}

/// This server, and the one before, if there is one: as `start` starts them.
pub(super) fn ours_and_before(
    built: &Built,
    start: impl Fn(&Path) -> Result<Server>,
) -> Result<Vec<(&'static str, Server)>> {
    let mut servers = vec![(OURS, start(&built.daemon)?)];
    if let Some(before) = &built.before {
        servers.push((BEFORE, start(before)?));
    }
    Ok(servers)
}

pub(super) fn ours(
    daemon: &Path,
    guest: &Path,
    flags: &[&str],
    fields: &[String],
) -> Result<Server> {
    ours_on(SERVER, daemon, guest, flags, fields)
}

pub(super) fn ours_on(
    cores: &str,
    daemon: &Path,
    guest: &Path,
    flags: &[&str],
    fields: &[String],
) -> Result<Server> {
    let start = Server::start(daemon, cores, |command, address, _| {
        command.args(["serve", "--listen", &address.to_string()]);
        command.args(flags).arg(guest);
    });
    start?.ready(fields)
}

/// A daemon with this configuration, once it answers.
pub(super) fn configured(
    daemon: &Path,
    cores: &str,
    configuration: impl FnOnce(SocketAddr) -> String,
) -> Result<Server> {
    let server = Server::start(daemon, cores, |command, _, folder| {
        command.arg("--control");
        command.arg(format!("unix:{}", folder.join("control.sock").display()));
        command.arg("--statedir").arg(folder.join("state"));
    })?;
    server.configure("/config/", &configuration(server.address))?;
    server.ready(&[])
}

/// How this server compares with the one before, which is wanted to have been no faster.
pub(super) fn compare_before(built: &Built, report: &Report) -> Option<String> {
    (built.before.as_ref()).map(|_| report.compare(OURS, BEFORE, 0.97))
}

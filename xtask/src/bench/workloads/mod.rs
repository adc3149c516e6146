//! What is measured.

mod applications;
mod bodies;
mod connections;
mod fairness;
mod requests;
mod routed;
mod spinning;
mod start;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::report::{Report, reached};
use super::server::Server;
use super::{Built, Options, peer};

/// The core of the server that is measured, and that of all else.
const SERVER: &str = "0";
const SERVER_CORE: usize = 0;
const REST: &str = "1";
const REST_CORE: usize = 1;

/// How long a server answers before it counts: what it does at first only is none of a rate.
const WARM_UP: u32 = 1;

/// Names of rows.
const OURS: &str = "wasmtime-unitd";
const THEIRS: &str = "wasmtime serve";

/// Another build of the same, in [`BESIDE`].
const BEFORE: &str = "wasmtime-unitd before";

/// The workloads that measure another build of the daemon, too, if there is one.
pub(super) const BESIDE: [&str; 7] = [
    "hello",
    "hello-0.3",
    "echo",
    "python",
    "outbound",
    "return",
    "static",
];

/// What a workload has measured.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) reports: Vec<Report>,
    /// How the figures compare with what is wanted of them, and figures that need no table.
    pub(super) remarks: Vec<String>,
}

type Run = fn(&Built, Options) -> Result<Findings>;

/// All workloads, each with its line of help.
pub(super) const ALL: [(&str, &str, Run); 16] = [
    (
        "hello",
        "an answer of 14 bytes; against hyper alone and others",
        requests::hello,
    ),
    ("hello-0.3", "the same for WASI 0.3", requests::hello_03),
    ("cores", "the same on one core and on two", requests::cores),
    (
        "echo",
        "1 KiB of JSON, posted and sent back",
        requests::echo,
    ),
    (
        "return",
        "a `return` of 200; against hyper alone and unitd",
        routed::answer,
    ),
    ("static", "a file of 1 KiB; against unitd", routed::file),
    (
        "routes",
        "the last of 1,000 steps, and one step",
        routed::steps,
    ),
    (
        "python",
        "an answer of a component of 18 MB, made with componentize-py",
        requests::python,
    ),
    (
        "latency",
        "latency at half of the requests that `wasmtime serve` can answer",
        requests::latency,
    ),
    (
        "outbound",
        "one outgoing request per request, to a server on the same machine",
        requests::outbound,
    ),
    ("bodies", "64 MiB up and 64 MiB down", bodies::run),
    (
        "start",
        "the first answer after a start, without compiling",
        start::run,
    ),
    (
        "applications",
        "memory and start of 1,000 applications of one component",
        applications::run,
    ),
    (
        "idle",
        "memory of 10,000 connections without requests",
        connections::run,
    ),
    (
        "spinning",
        "other requests beside guests in endless loops",
        spinning::run,
    ),
    (
        "fairness",
        "requests of one application while another one takes all that it can get",
        fairness::run,
    ),
];

/// `wasmtime serve` with these flags, once it answers requests with these fields.
fn theirs(guest: &Path, flags: &[&str], fields: &[String]) -> Result<Server> {
    let start = Server::start(&peer::wasmtime()?, SERVER, |command, address, _| {
        command.args(["serve", "-Scli", "-Wcomponent-model-async", "--addr"]);
        command.arg(address.to_string()).args(flags).arg(guest);
    });
    start?.ready(fields)
}

/// This server, and the one before, if there is one: as `start` starts them.
fn ours_and_before(
    built: &Built,
    start: impl Fn(&Path) -> Result<Server>,
) -> Result<Vec<(&'static str, Server)>> {
    let mut servers = vec![(OURS, start(&built.daemon)?)];
    if let Some(before) = &built.before {
        servers.push((BEFORE, start(before)?));
    }
    Ok(servers)
}

fn ours(daemon: &Path, guest: &Path, flags: &[&str], fields: &[String]) -> Result<Server> {
    ours_on(SERVER, daemon, guest, flags, fields)
}

fn ours_on(
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
fn configured(
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

impl Built {
    /// How this server compares with the one before, which is wanted to have been no faster.
    fn compare_before(&self, report: &Report) -> Option<String> {
        (self.before.as_ref()).map(|_| report.compare(OURS, BEFORE, 0.97))
    }

    /// A guest of WASI 0.2.
    fn guest(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    fn guest_03(&self, name: &str) -> PathBuf {
        self.guests_03.join(format!("{name}.wasm"))
    }
}

//! What is measured.

mod applications;
mod bodies;
mod connections;
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

/// What a workload has measured.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) reports: Vec<Report>,
    /// How the figures compare with what is wanted of them, and figures that need no table.
    pub(super) remarks: Vec<String>,
}

type Run = fn(&Built, Options) -> Result<Findings>;

/// All workloads, each with its line of help.
pub(super) const ALL: [(&str, &str, Run); 15] = [
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
];

/// `wasmtime serve` with these flags, once it answers requests with these fields.
fn theirs(guest: &Path, flags: &[&str], fields: &[String]) -> Result<Server> {
    let start = Server::start(&peer::wasmtime()?, SERVER, |command, address, _| {
        command.args(["serve", "-Scli", "-Wcomponent-model-async", "--addr"]);
        command.arg(address.to_string()).args(flags).arg(guest);
    });
    start?.ready(fields)
}

fn ours(built: &Built, guest: &Path, flags: &[&str], fields: &[String]) -> Result<Server> {
    ours_on(SERVER, built, guest, flags, fields)
}

fn ours_on(
    cores: &str,
    built: &Built,
    guest: &Path,
    flags: &[&str],
    fields: &[String],
) -> Result<Server> {
    let start = Server::start(&built.daemon, cores, |command, address, _| {
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
    /// A guest of WASI 0.2.
    fn guest(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    fn guest_03(&self, name: &str) -> PathBuf {
        self.guests_03.join(format!("{name}.wasm"))
    }
}

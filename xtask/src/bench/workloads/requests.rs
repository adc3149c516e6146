//! Requests per second.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::built::{Built, Options};
use super::super::load::Load;
use super::super::report::{Report, median, verdict};
use super::super::{machine, paced, unit};
use super::servers::{
    Findings, OURS, REST, REST_CORE, SERVER, THEIRS, WARM_UP, compare_before, ours,
    ours_and_before, ours_on, theirs,
};
use crate::server::Server;
use crate::toolchains;

pub(super) const HYPER: &str = "hyper, without WebAssembly";
const BARE: &str = "hyper and Wasmtime, and nothing else";
const REUSED: &str = "wasmtime serve, one instance for all";

/// Connections that requests come on.
const CONNECTIONS: u32 = 32;

/// What is asked of each server.
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    pub(super) title: &'a str,
    pub(super) fields: &'a [String],
    pub(super) body: u32,
}

/// A small answer.
pub(super) fn hello(built: &Built, options: Options) -> Result<Findings> {
    let guest = built.guest("hello");
    let unlimited = u32::MAX.to_string();
    let mut servers = vec![
        (THEIRS, theirs(&guest, &[], &[])?),
        (
            REUSED,
            theirs(&guest, &["--max-instance-reuse-count", &unlimited], &[])?,
        ),
        (HYPER, baseline(built, SERVER, None)?),
        (BARE, baseline(built, SERVER, Some(&guest))?),
    ];
    servers.extend(ours_and_before(built, |daemon| {
        ours(daemon, &guest, &[], &[])
    })?);
    servers.extend(unit::servers(built, SERVER, &guest)?);
    let asked = Asked {
        name: "hello",
        title: "hello",
        fields: &[],
        body: 0,
    };
    let report = compare(&asked, &servers, options)?;
    let mut remarks = vec![
        report.compare(OURS, THEIRS, 5.0),
        report.compare(OURS, REUSED, 1.0),
        report.compare(OURS, HYPER, 0.33),
        report.compare(OURS, BARE, 0.9),
        report.compare(unit::OURS, unit::THEIRS, 3.0),
    ];
    remarks.extend(compare_before(built, &report));
    Ok(Findings {
        remarks,
        reports: vec![report],
    })
}

/// A small answer of a component of WASI 0.3.
pub(super) fn hello_03(built: &Built, options: Options) -> Result<Findings> {
    const ONCE: &str = "wasmtime serve, one request for each instance";
    let guest = built.guest_03("hello");
    let mut servers = vec![
        (
            ONCE,
            theirs(&guest, &["--max-instance-reuse-count", "1"], &[])?,
        ),
        (THEIRS, theirs(&guest, &[], &[])?),
    ];
    servers.extend(ours_and_before(built, |daemon| {
        ours(daemon, &guest, &[], &[])
    })?);
    let asked = Asked {
        name: "hello-0.3",
        title: "hello, WASI 0.3",
        fields: &[],
        body: 0,
    };
    let report = compare(&asked, &servers, options)?;
    let mut remarks = vec![
        report.compare(OURS, ONCE, 5.0),
        report.compare(OURS, THEIRS, 1.2),
    ];
    remarks.extend(compare_before(built, &report));
    Ok(Findings {
        remarks,
        reports: vec![report],
    })
}

/// A small answer, by a server on one core and by one on two. Where there are no other cores for the load,
/// it shares those of both, and what counts is the server's own time per request.
pub(super) fn cores(built: &Built, options: Options) -> Result<Findings> {
    const ONE: &str = "wasmtime-unitd on one core";
    const TWO: &str = "wasmtime-unitd on two cores";
    let guest = built.guest("hello");
    let cores = machine::cores()?;
    let all = format!("0-{}", cores - 1);
    let servers = [
        (ONE, ours_on("0", &built.daemon, &guest, &[], &[])?),
        (TWO, ours_on("0-1", &built.daemon, &guest, &[], &[])?),
    ];
    let mut report = Report::new("hello", "requests/s");
    let mut times: [Vec<f64>; 2] = Default::default();
    for round in 1..=options.rounds {
        for ((name, server), times) in servers.iter().zip(&mut times) {
            options.progress("cores", round, name);
            let load = Load {
                address: server.address,
                fields: &[],
                body: 0,
                connections: CONNECTIONS,
                seconds: options.seconds,
                cores: &all,
            };
            let before = server.processor_time()?;
            let sample = load.run()?;
            let used = server.processor_time()?.saturating_sub(before);
            times.push(used.as_secs_f64() / (sample.rate * f64::from(options.seconds)));
            report.add(name, sample);
        }
    }
    let [one, two] = times.map(|times| median(times) * 1e6);
    let remark = if cores > 2 {
        report.compare(TWO, ONE, 1.8)
    } else {
        verdict(TWO, ONE, Some(2.0 * one / two), "at least", 1.8)
    };
    Ok(Findings {
        remarks: vec![
            remark,
            format!(
                "- processor time of the server per request: {one:.1} µs on one core, {two:.1} µs \
                 on two"
            ),
        ],
        reports: vec![report],
    })
}

/// A body that is read and sent back.
pub(super) fn echo(built: &Built, options: Options) -> Result<Findings> {
    let asked = Asked {
        name: "echo",
        title: "echo of 1 KiB of JSON",
        fields: &[],
        body: 1024,
    };
    against_theirs(built, &built.guest("echo"), &asked, 4.0, options)
}

/// A large component, whose program is an interpreter.
pub(super) fn python(built: &Built, options: Options) -> Result<Findings> {
    let asked = Asked {
        name: "python",
        title: "hello in Python",
        fields: &[],
        body: 0,
    };
    let guest = toolchains::python_component()?;
    against_theirs(built, &guest, &asked, 3.0, options)
}

fn against_theirs(
    built: &Built,
    guest: &Path,
    asked: &Asked<'_>,
    wanted: f64,
    options: Options,
) -> Result<Findings> {
    let mut servers = vec![(THEIRS, theirs(guest, &[], &[])?)];
    servers.extend(ours_and_before(built, |daemon| {
        ours(daemon, guest, &[], &[])
    })?);
    let report = compare(asked, &servers, options)?;
    let mut remarks = vec![report.compare(OURS, THEIRS, wanted)];
    remarks.extend(compare_before(built, &report));
    Ok(Findings {
        remarks,
        reports: vec![report],
    })
}

/// The latency of servers that are not overrun.
pub(super) fn latency(built: &Built, options: Options) -> Result<Findings> {
    let guest = built.guest("hello");
    let servers = [
        (THEIRS, theirs(&guest, &[], &[])?),
        (OURS, ours(&built.daemon, &guest, &[], &[])?),
        // What the machine and the load's own threads add to every server's latency.
        (HYPER, baseline(built, SERVER, None)?),
    ];
    let asked = Asked {
        name: "latency",
        title: "top rate",
        fields: &[],
        body: 0,
    };
    let top = compare(&asked, &servers[..1], options)?;
    let rate = top.rate(THEIRS).context("there is no top rate")? / 2.0;
    let mut report = Report::new(format!("hello at {rate:.0} requests/s"), "requests/s");
    let paced = |server: &Server, seconds: u32| {
        let length = Duration::from_secs(seconds.into());
        machine::on_core(REST_CORE, || paced::run(server.address, rate, length))
    };
    for (_, server) in &servers {
        paced(server, WARM_UP)?;
    }
    // Many short rounds, of which those that the machine disturbs are left out by the median.
    let rounds = options.rounds * options.seconds;
    let short = Options { rounds, seconds: 1 };
    for round in 1..=rounds {
        for (name, server) in &servers {
            short.progress("latency", round, name);
            report.add(name, paced(server, short.seconds)?);
        }
    }
    Ok(Findings {
        remarks: vec![report.compare_p99(OURS, THEIRS, 0.5)],
        reports: vec![report],
    })
}

/// One outgoing request per request.
pub(super) fn outbound(built: &Built, options: Options) -> Result<Findings> {
    let guest = built.guest("fetch");
    let upstream = baseline(built, REST, None)?;
    let fields = [format!("x-fetch: GET http://{}/", upstream.address)];
    let grant = format!("access/outbound_http=[\"http://{}\"]", upstream.address);
    let mut servers = vec![(THEIRS, theirs(&guest, &[], &fields)?)];
    servers.extend(ours_and_before(built, |daemon| {
        ours(daemon, &guest, &["--set", &grant], &fields)
    })?);
    let asked = Asked {
        name: "outbound",
        title: "one outgoing request",
        fields: &fields,
        body: 0,
    };
    let report = compare(&asked, &servers, options)?;
    let mut remarks = vec![report.compare(OURS, THEIRS, 4.0)];
    remarks.extend(compare_before(built, &report));
    Ok(Findings {
        remarks,
        reports: vec![report],
    })
}

pub(super) fn baseline(built: &Built, cores: &str, guest: Option<&Path>) -> Result<Server> {
    let start = Server::start(&built.baseline, cores, |command, address, _| {
        command.arg(address.to_string()).args(guest);
    });
    start?.ready(&[])
}

/// Asks each server in turn, round after round.
pub(super) fn compare(
    asked: &Asked<'_>,
    servers: &[(&str, Server)],
    options: Options,
) -> Result<Report> {
    let mut report = Report::new(asked.title, "requests/s");
    let ask = |name: &str, server: &Server, seconds| {
        let load = Load {
            address: server.address,
            fields: asked.fields,
            body: asked.body,
            connections: CONNECTIONS,
            seconds,
            cores: REST,
        };
        load.run().with_context(|| name.to_owned())
    };
    for (name, server) in servers {
        ask(name, server, WARM_UP)?;
    }
    for round in 1..=options.rounds {
        for (name, server) in servers {
            options.progress(asked.name, round, name);
            report.add(name, ask(name, server, options.seconds)?);
            report.add_memory(name, server.peak_memory()?);
        }
    }
    Ok(report)
}

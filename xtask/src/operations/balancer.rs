//! Servers behind a load balancer that are replaced one after the other: no request fails.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::haproxy::{BalancedServer, Haproxy};
use super::launcher::{Launcher, ServerProcess};
use super::wait::within;
use super::wrk::WrkClient;
use crate::toolchains::debian::{DebianProgram, InstalledProgram};
use crate::toolchains::place::{Failure, Step};
use crate::{guests, test_daemon, toolchain};

const HAPROXY: DebianProgram = DebianProgram {
    name: "haproxy",
    package: "haproxy",
    version_flag: "-v",
};

const WRK: DebianProgram = DebianProgram {
    name: "wrk",
    package: "wrk",
    version_flag: "-v",
};

/// How many servers are stopped and started again, of both together.
const REPLACEMENTS: usize = 50;

/// Seconds of `--shutdown-delay`: HAProxy needs two checks, which are 0.1 s apart, to notice.
const SHUTDOWN_DELAY: u32 = 1;

/// How long a server may take until it serves. The first compiles the component.
const START: Duration = Duration::from_secs(60);

/// As many answers come of each server before the other one is replaced.
const ANSWERS: u64 = 100;

/// Replaces servers under load. Gives what was left out.
///
/// # Errors
///
/// When a request fails, or a server does not start or end as it should.
pub(super) fn test() -> Result<Option<String>> {
    const TEST: &str = "the replacement of servers behind a load balancer";
    let programs = match programs() {
        Ok(programs) => programs,
        Err(Failure::NotHere(reason)) => return Ok(Some(format!("{TEST}: {reason}"))),
        Err(Failure::Broken(error)) => return Err(error.context(TEST)),
    };
    toolchain::prepare()?;
    let component = guests::hello()?;
    test_daemon::build()?;

    println!("\nxtask: {TEST}");
    let folder = tempfile::tempdir()?;
    let (launcher, reason) = Launcher::new(folder.path())?;
    fs::copy(&component, folder.path().join("apps/hello.wasm")).context("the component")?;
    if let Err(error) = replace_under_load(&programs, &launcher, folder.path()) {
        print_logs(folder.path());
        return Err(error.context(TEST));
    }
    Ok(reason.map(|reason| format!("containers in {TEST}, which were plain processes: {reason}")))
}

struct Programs {
    haproxy: InstalledProgram,
    wrk: InstalledProgram,
}

fn programs() -> Step<Programs> {
    Ok(Programs {
        haproxy: HAPROXY.find()?,
        wrk: WRK.find()?,
    })
}

fn replace_under_load(programs: &Programs, launcher: &Launcher, folder: &Path) -> Result<()> {
    let replacements = replacements()?;
    let (balancer, servers) = addresses()?;
    for server in &servers {
        write_configuration(folder, server)?;
    }
    let haproxy = Haproxy::start(&programs.haproxy, folder, balancer, &servers)?;
    let mut running = Vec::new();
    for server in &servers {
        running.push(start(launcher, server, 0)?);
    }
    for server in &servers {
        within(START, "the start of a server", || {
            Ok(haproxy.counters()?.is_up(server.name)?.then_some(()))
        })?;
    }
    let client = |name, arguments: &[&str]| {
        WrkClient::start(&programs.wrk, folder, name, balancer, arguments)
    };
    // One that keeps its connections, and one with a connection for each request.
    let clients = [
        client("keep-alive.log", &["-c32"])?,
        client("close.log", &["-c8", "-H", "Connection: close"])?,
    ];

    let started = Instant::now();
    for number in 1..=replacements {
        // In turns: the one that has been there for longer.
        let process = running.remove(0);
        let server = &servers[(number - 1) % servers.len()];
        let replaced = replace(launcher, &haproxy, server, process, number);
        running.push(replaced.with_context(|| format!("replacement {number}"))?);
    }
    let seconds = started.elapsed().as_secs();

    // Before the clients end, which abort their last requests.
    let counters = haproxy.counters()?;
    counters.require_no_fault()?;
    let mut requests = 0;
    for client in clients {
        let answers = client.finish()?;
        ensure!(answers > ANSWERS, "a client has got {answers} answers only");
        requests += answers;
    }
    for process in running {
        process.stop()?;
    }
    println!(
        "xtask: {replacements} {} replaced in {seconds} seconds, with {requests} requests, of which none failed",
        launcher.kind()
    );
    Ok(())
}

/// `REPLACEMENTS=500` has five hundred.
fn replacements() -> Result<usize> {
    match std::env::var("REPLACEMENTS") {
        Ok(text) => text.parse().with_context(|| format!("REPLACEMENTS={text}")),
        Err(_) => Ok(REPLACEMENTS),
    }
}

/// Stops a server, starts the next one in its place, and waits until that has its share of the requests.
fn replace(
    launcher: &Launcher,
    haproxy: &Haproxy,
    server: &BalancedServer,
    process: ServerProcess,
    number: usize,
) -> Result<ServerProcess> {
    process.stop()?;
    let before = haproxy.counters()?.answers(server.name)?;
    let process = start(launcher, server, number)?;
    within(START, "the start of the next server", || {
        let counters = haproxy.counters()?;
        // Not what the ended one has answered last.
        let serves = counters.answers(server.name)? >= before + ANSWERS;
        Ok((counters.is_up(server.name)? && serves).then_some(()))
    })?;
    Ok(process)
}

fn start(launcher: &Launcher, server: &BalancedServer, number: usize) -> Result<ServerProcess> {
    let name = format!("{}-{number}", server.name);
    launcher.start(&name, server.name, server.health, SHUTDOWN_DELAY)
}

/// Free addresses: of the balancer, and of two servers.
///
/// Those of servers have other IP addresses than what connects to them: while a server is away, no connection can get
/// its port for its own end.
fn addresses() -> Result<(SocketAddr, [BalancedServer; 2])> {
    let ips = [
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.2",
        "127.0.0.3",
        "127.0.0.3",
    ];
    // All at the same time, so that they differ.
    let mut listeners = Vec::new();
    for ip in ips {
        listeners.push(TcpListener::bind((ip, 0)).with_context(|| ip.to_owned())?);
    }
    let address = |number: usize| listeners[number].local_addr();
    let server = |name, number| -> Result<BalancedServer> {
        Ok(BalancedServer {
            name,
            address: address(number)?,
            health: address(number + 1)?,
        })
    };
    Ok((address(0)?, [server("a", 1)?, server("b", 3)?]))
}

fn write_configuration(folder: &Path, server: &BalancedServer) -> Result<()> {
    let config = folder.join(server.name);
    fs::create_dir(&config).with_context(|| config.display().to_string())?;
    let text = format!(
        r#"{{"listeners": {{"{}": {{"pass": "applications/hello"}}}},
            "applications": {{"hello": {{"type": "wasm-wasi-component", "component": {:?}}}}}}}"#,
        server.address,
        folder.join("apps/hello.wasm")
    );
    fs::write(config.join("main.json"), text).context("the configuration")
}

/// Prints the last lines of all logs.
fn print_logs(folder: &Path) {
    const LINES: usize = 20;
    for name in [
        "haproxy.log",
        "a.log",
        "b.log",
        "keep-alive.log",
        "close.log",
    ] {
        let log = fs::read_to_string(folder.join(name)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        println!("{name}:\n{last}");
    }
}

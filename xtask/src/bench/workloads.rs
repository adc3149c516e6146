//! What is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::load::Load;
use super::report::Report;
use super::server::{Server, request};
use super::{Built, Options, peer};

/// The core of the server that is measured, and that of all else.
const SERVER: &str = "0";
const REST: &str = "1";

/// A small answer.
pub(super) fn hello(built: &Built, options: Options) -> Result<()> {
    let guest = built.guests.join("hello.wasm");
    let bare = Server::start(&built.baseline, SERVER, |command, address, _| {
        command.arg(address.to_string());
    })?;
    let servers = [
        ("hyper, without WebAssembly", bare.ready(&[])?),
        ("wasmtime serve", theirs(&guest, &[])?),
        ("wasmtime-unitd serve", ours(built, &guest, &[], &[])?),
    ];
    compare("hello", "A small answer", &servers, &[], options)
}

/// One outgoing request per request.
pub(super) fn outbound(built: &Built, options: Options) -> Result<()> {
    let guest = built.guests.join("fetch.wasm");
    let upstream = Server::start(&built.baseline, REST, |command, address, _| {
        command.arg(address.to_string());
    })?
    .ready(&[])?;
    let fields = [format!("x-fetch: GET http://{}/", upstream.address)];
    let grant = format!("access/outbound_http=[\"http://{}\"]", upstream.address);
    let servers = [
        ("wasmtime serve", theirs(&guest, &fields)?),
        (
            "wasmtime-unitd serve",
            ours(built, &guest, &["--set", &grant], &fields)?,
        ),
    ];
    let title = "One outgoing request per request";
    compare("outbound", title, &servers, &fields, options)
}

/// `wasmtime serve` as it comes, once it answers requests with these fields.
fn theirs(guest: &Path, fields: &[String]) -> Result<Server> {
    let start = Server::start(&peer::wasmtime()?, SERVER, |command, address, _| {
        command.args(["serve", "-Scli", "--addr"]);
        command.arg(address.to_string()).arg(guest);
    });
    start?.ready(fields)
}

fn ours(built: &Built, guest: &Path, flags: &[&str], fields: &[String]) -> Result<Server> {
    let start = Server::start(&built.daemon, SERVER, |command, address, _| {
        command.args(["serve", "--listen", &address.to_string()]);
        command.args(flags).arg(guest);
    });
    start?.ready(fields)
}

/// Asks each server in turn, round after round.
fn compare(
    name: &str,
    title: &str,
    servers: &[(&str, Server)],
    fields: &[String],
    options: Options,
) -> Result<()> {
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for (server, running) in servers {
            println!(
                "xtask: {name}: round {round} of {}: {server}",
                options.rounds
            );
            let load = Load {
                address: running.address,
                fields,
                connections: 32,
                seconds: options.seconds,
                cores: REST,
            };
            report.add(server, load.run()?);
        }
    }
    report.print(title);
    Ok(())
}

/// Other requests beside guests in endless loops.
pub(super) fn spinning(built: &Built, options: Options) -> Result<()> {
    let cores = u32::try_from(thread::available_parallelism()?.get())?;
    let all = format!("0-{}", cores - 1);
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for guests in [0, cores, 10 * cores] {
            println!(
                "xtask: spinning: round {round} of {}: {guests} guests",
                options.rounds
            );
            // A new one each time, so that nothing goes on from the last.
            let (server, spin) = spinner(built, &all)?;
            let spinning: Vec<_> = (0..guests)
                .map(|_| request(spin, &[]))
                .collect::<Result<_>>()?;
            // All have begun when each has had a few turns.
            thread::sleep(Duration::from_millis(500));
            let load = Load {
                address: server.address,
                fields: &[],
                connections: 4,
                seconds: options.seconds,
                cores: &all,
            };
            report.add(&format!("{guests} guests in endless loops"), load.run()?);
            drop(spinning);
        }
    }
    report.print(&format!(
        "Four clients beside guests in endless loops, all on {cores} cores"
    ));
    Ok(())
}

/// A daemon whose guests may compute for ever; and where those that do are.
fn spinner(built: &Built, cores: &str) -> Result<(Server, SocketAddr)> {
    let spin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut server = Server::start(&built.daemon, cores, |command, _, folder| {
        command.arg("--control");
        command.arg(format!("unix:{}", folder.join("control.sock").display()));
        command.arg("--statedir").arg(folder.join("state"));
    })?;
    let component = |name: &str| built.guests.join(format!("{name}.wasm"));
    server.configure(&format!(
        r#"{{
            "listeners": {{
                "{}": {{"pass": "applications/hello"}},
                "{spin}": {{"pass": "applications/spin"}}
            }},
            "applications": {{
                "hello": {{"type": "wasm-wasi-component", "component": {:?}}},
                "spin": {{
                    "type": "wasm-wasi-component",
                    "component": {:?},
                    "limits": {{"timeout": 0, "execution_timeout": 0}}
                }}
            }}
        }}"#,
        server.address,
        component("hello"),
        component("spin"),
    ))?;
    Ok((server.ready(&[])?, spin))
}

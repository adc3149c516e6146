//! What is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
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

/// One outgoing request per request.
pub(super) fn outbound(built: &Built, options: Options) -> Result<()> {
    let wasmtime = peer::wasmtime()?;
    let guest = built.guests.join("fetch.wasm");
    let upstream = Server::start(&built.baseline, REST, |command, address, _| {
        command.arg(address.to_string());
    })?
    .ready(&[])?;
    let fields = [format!("x-fetch: GET http://{}/", upstream.address)];
    let grant = format!("access/outbound_http=[\"http://{}\"]", upstream.address);
    let servers = [
        (
            "wasmtime serve",
            Server::start(&wasmtime, SERVER, |command, address, _| {
                serve(command.args(["serve", "-Scli"]), "--addr", address, &guest);
            })?
            .ready(&fields)?,
        ),
        (
            "wasmtime-unitd serve",
            Server::start(&built.daemon, SERVER, |command, address, _| {
                serve(command.arg("serve"), "--listen", address, &guest);
                command.args(["--set", &grant]);
            })?
            .ready(&fields)?,
        ),
    ];
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for (name, server) in &servers {
            println!(
                "xtask: outbound: round {round} of {}: {name}",
                options.rounds
            );
            let load = Load {
                address: server.address,
                fields: &fields,
                connections: 32,
                seconds: options.seconds,
                cores: REST,
            };
            report.add(name, load.run()?);
        }
    }
    report.print("One outgoing request per request");
    Ok(())
}

fn serve(command: &mut Command, flag: &str, address: SocketAddr, guest: &Path) {
    command.arg(flag).arg(address.to_string()).arg(guest);
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

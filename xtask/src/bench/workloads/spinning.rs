//! Other requests beside guests in endless loops.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::built::{Built, Options};
use super::super::load::Load;
use super::super::machine;
use super::super::report::Report;
use super::servers::Findings;
use crate::server::{Server, request};

/// Other requests beside guests in endless loops.
pub(super) fn run(built: &Built, options: Options) -> Result<Findings> {
    let cores = u32::try_from(machine::cores()?)?;
    let all = format!("0-{}", cores - 1);
    let mut report = Report::new(
        format!("hello, four clients, all on {cores} cores"),
        "requests/s",
    );
    for round in 1..=options.rounds {
        for guests in [0, cores, 10 * cores] {
            println!(
                "xtask: spinning: round {round} of {}: {guests} guests",
                options.rounds
            );
            // A new one each time, so that nothing of the last one still runs.
            let (server, spin) = spinner(built, &all)?;
            let spinning: Vec<_> = (0..guests)
                .map(|_| request(spin, &[]))
                .collect::<Result<_>>()?;
            // All have begun when each has had a few turns.
            thread::sleep(Duration::from_millis(500));
            let active = server.status("/status/applications/spin/requests/active")?;
            ensure!(active == guests.to_string(), "{active} guests spin");
            let load = Load {
                address: server.address,
                fields: &[],
                body: 0,
                connections: 4,
                seconds: options.seconds,
                cores: &all,
            };
            report.add(&format!("{guests} guests in endless loops"), load.run()?);
            drop(spinning);
        }
    }
    Ok(Findings {
        reports: vec![report],
        ..Findings::default()
    })
}

/// A daemon whose guests may compute for ever; and where those that do are.
fn spinner(built: &Built, cores: &str) -> Result<(Server, SocketAddr)> {
    let spin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let server = Server::start(&built.daemon, cores, |command, _, folder| {
        command.arg("--control");
        command.arg(format!("unix:{}", folder.join("control.sock").display()));
        command.arg("--statedir").arg(folder.join("state"));
    })?;
    let component = |name: &str| built.guests.join(format!("{name}.wasm"));
    server.configure(
        "/config/",
        &format!(
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
        ),
    )?;
    Ok((server.ready(&[])?, spin))
}

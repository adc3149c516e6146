//! NGINX Unit with its own module for components, and with ours, where there is a tree of it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::built::{Built, Unit};
use crate::server::Server;

/// Names of rows.
pub(super) const OURS: &str = "unitd with this module";
pub(super) const THEIRS: &str = "unitd with its own module";

/// The daemons that serve the guest, if there is a tree of Unit.
pub(super) fn servers(
    built: &Built,
    cores: &str,
    guest: &Path,
) -> Result<Vec<(&'static str, Server)>> {
    let Some(unit) = &built.unit else {
        return Ok(Vec::new());
    };
    // unitd asks for the handlers, which neither has a use for.
    let application = format!(
        r#"{{"type": "wasm", "module": {guest:?}, "request_handler": "-", "malloc_handler": "-",
            "free_handler": "-"}}"#
    );
    let ours = start(unit, cores, &unit.module, &application).context(OURS)?;
    let mut servers = vec![(OURS, ours)];
    if let Some(own) = &unit.own {
        let application = format!(r#"{{"type": "wasm-wasi-component", "component": {guest:?}}}"#);
        let theirs = start(unit, cores, own, &application).context(THEIRS)?;
        servers.push((THEIRS, theirs));
    }
    Ok(servers)
}

fn start(unit: &Unit, cores: &str, module: &Path, application: &str) -> Result<Server> {
    let server = unitd(unit, cores, Some(module))?;
    server.configure(
        "/config/",
        &format!(
            r#"{{
            "listeners": {{"{}": {{"pass": "applications/a"}}}},
            "applications": {{"a": {application}}}
        }}"#,
            server.address
        ),
    )?;
    server.ready(&[])
}

/// A daemon with this configuration, once it answers, if there is a tree of Unit.
pub(super) fn configured(
    built: &Built,
    cores: &str,
    configuration: impl FnOnce(SocketAddr) -> String,
) -> Result<Option<Server>> {
    let Some(unit) = &built.unit else {
        return Ok(None);
    };
    let server = unitd(unit, cores, None)?;
    server.configure("/config/", &configuration(server.address))?;
    server.ready(&[]).map(Some)
}

fn unitd(unit: &Unit, cores: &str, module: Option<&Path>) -> Result<Server> {
    Server::start(&unit.unitd, cores, |command, _, folder| {
        let path = |name: &str| folder.join(name).into_os_string();
        command.args(["--no-daemon", "--control"]);
        command.arg(format!("unix:{}", folder.join("control.sock").display()));
        for (flag, name) in [
            ("--log", "unit.log"),
            ("--pid", "unit.pid"),
            ("--statedir", "state"),
            ("--tmpdir", "tmp"),
            ("--modulesdir", "modules"),
        ] {
            command.arg(flag).arg(path(name));
        }
        for name in ["state", "tmp", "modules"] {
            // unitd says what is missing.
            let _ = fs::create_dir(folder.join(name));
        }
        if let Some(module) = module {
            let _ = fs::copy(module, folder.join("modules/measured.unit.so"));
        }
    })
}

//! NGINX Unit with its own module for components, and with ours, where there is a tree of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Built;
use super::server::Server;

/// Names of rows.
pub(super) const OURS: &str = "unitd with this module";
pub(super) const THEIRS: &str = "unitd with its own module";

/// What is measured of a tree of Unit.
pub(super) struct Unit {
    pub(super) unitd: PathBuf,
    /// This project's module.
    pub(super) module: PathBuf,
    /// Unit's own, if the tree has it.
    pub(super) own: Option<PathBuf>,
}

impl Unit {
    /// What has been built in a tree, and a module for it.
    pub(super) fn new(tree: &Path, module: PathBuf) -> Self {
        let own = tree.join("build/lib/unit/modules/wasm_wasi_component.unit.so");
        Self {
            unitd: tree.join("build/sbin/unitd"),
            module,
            own: own.is_file().then_some(own),
        }
    }
}

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

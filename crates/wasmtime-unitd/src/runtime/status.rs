//! The counters of `/status` and of the metrics, collected from engine, server and process.

use std::time::SystemTime;

use control::{
    ApplicationInstances, ApplicationStatus, ConfigFiles, ConfigFilesStatus, Module, Processes,
    Status,
};
use engine::{Application, ApplicationStats, Engine};
use server::Server;

use super::process;
use super::state::{ActiveState, LoadedApplication};

pub(super) fn of(
    engine: &Engine,
    server: &Server,
    state: &ActiveState,
    started: SystemTime,
) -> Status {
    let connections = server.connections();
    let held = server.held_for_clients();
    let mut applications: Vec<_> = state
        .applications
        .values()
        .map(|loaded| (loaded.config.name.clone(), application_status(loaded)))
        .collect();
    applications.sort_by(|a, b| a.0.cmp(&b.0));
    Status {
        modules: modules(),
        connections: control::Connections {
            accepted: connections.accepted,
            active: connections.active,
            idle: connections.idle,
            closed: connections.closed,
        },
        requests: server.requests(),
        instances: control::Instances {
            active: engine.active_instances().into(),
            limit: engine.instances().into(),
            pooled: engine.is_pooled(),
            memory: engine.memory_used(),
            memory_limit: engine.memory_limit(),
        },
        config_files: None,
        held_for_clients: control::HeldForClients {
            bytes: held.bytes,
            limit: held.limit,
            ended_connections: held.ended_connections,
        },
        applications,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch_ticks: engine.ticks(),
        process: process::of(started),
    }
}

pub(super) fn config_files(files: &ConfigFiles) -> ConfigFilesStatus {
    ConfigFilesStatus {
        path: files.path().display().to_string(),
        problem: files.problem(),
    }
}

/// Unit counts processes. Here all applications share one, which counts as `running` for each application that is
/// loaded, and as `idle` while the application has no request in progress.
fn application_status(loaded: &LoadedApplication) -> ApplicationStatus {
    let application = loaded.application.as_ref();
    let active_requests = application.map_or(0, Application::active);
    let stats = application.map(Application::stats);
    let running = u64::from(application.is_some());
    let idle = if active_requests == 0 { running } else { 0 };
    ApplicationStatus {
        processes: Processes {
            running,
            starting: 0,
            idle,
        },
        active_requests,
        instances: instances(&stats.unwrap_or_default()),
    }
}

fn instances(stats: &ApplicationStats) -> ApplicationInstances {
    let failures = stats.failures();
    ApplicationInstances {
        active: stats.instances,
        started: stats.instances_started,
        memory: stats.memory,
        peak_memory: stats.peak_memory,
        files: stats.files,
        execution_time: stats.execution_time,
        responses: stats.answers().collect(),
        cut_off: stats.cut_off,
        failures: failures.map(|(kind, count)| (kind.name(), count)).collect(),
    }
}

fn modules() -> Vec<Module> {
    let module = |name: &str| Module {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lib: "built in".to_owned(),
    };
    vec![module("wasm"), module("wasm-wasi-component")]
}

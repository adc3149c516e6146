//! The counters of this moment.

use control::{ApplicationStatus, Module, Processes, Status};
use engine::Application;

use super::Runtime;
use super::state::Loaded;

pub(super) fn of(runtime: &Runtime) -> Status {
    let connections = runtime.0.server.connections();
    let current = runtime.current();
    let mut applications: Vec<_> = current
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
        requests: runtime.0.server.requests(),
        instances: control::Instances {
            active: runtime.0.engine.active_instances().into(),
            limit: runtime.0.engine.instances().into(),
            pooled: runtime.0.engine.is_pooled(),
        },
        applications,
    }
}

/// Unit counts processes. Here all applications live in one: it runs when the application is
/// loaded, and is idle when none of its requests is in progress.
fn application_status(loaded: &Loaded) -> ApplicationStatus {
    let active_requests = loaded.application.as_ref().map_or(0, Application::active);
    let running = u64::from(loaded.application.is_some());
    let idle = if active_requests == 0 { running } else { 0 };
    ApplicationStatus {
        processes: Processes {
            running,
            starting: 0,
            idle,
        },
        active_requests,
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

//! The counters of `/status`.

use std::time::Duration;

use config::{Object, Value};

/// The value of `/status`, in Unit's form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The modules, one for each type of application.
    pub modules: Vec<Module>,
    /// Connections of clients since the start.
    pub connections: Connections,
    /// Requests since the start.
    pub requests: u64,
    /// Instances of all applications. Unit has no such member.
    pub instances: Instances,
    /// Response data buffered for slow clients. Unit has no such member.
    pub held_for_clients: HeldForClients,
    /// The files that the configuration comes from, if it does. Unit has no such member.
    pub config_files: Option<ConfigFilesStatus>,
    /// Each application by its name.
    pub applications: Vec<(String, ApplicationStatus)>,
    /// The version of the server. This and all below, except resident memory, is for `/status/metrics` only.
    pub version: String,
    /// Ticks at which computing guests yield to others.
    pub epoch_ticks: u64,
    /// Figures of the operating system.
    pub process: Process,
}

/// The files that the configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFilesStatus {
    /// The file, or the folder of the files.
    pub path: String,
    /// Why the files as they are now are not in force.
    pub problem: Option<String>,
}

/// A module for one type of application. Unit lists its language modules here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The type of application.
    pub name: String,
    /// The module's version.
    pub version: String,
    /// In Unit, the module's file.
    pub lib: String,
}

/// Connections of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Accepted since the start.
    pub accepted: u64,
    /// Open, with a request in progress.
    pub active: u64,
    /// Open, between requests.
    pub idle: u64,
    /// Closed since the start.
    pub closed: u64,
}

/// Instances of components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// Those that exist now.
    pub active: u64,
    /// How many may exist at a time.
    pub limit: u64,
    /// Whether they come from a pool. If not, each is made with several system calls.
    pub pooled: bool,
    /// Linear memories and tables of those that exist now, in bytes.
    pub memory: u64,
    /// The limit of `memory`.
    pub memory_limit: u64,
}

/// Response data that is in memory because clients have not read it yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldForClients {
    /// Its size in bytes.
    pub bytes: u64,
    /// The limit of `bytes`, beyond which connections are reset.
    pub limit: u64,
    /// Connections that were reset since the start for that reason.
    pub ended_connections: u64,
}

/// The process, as the operating system sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Resident memory in bytes, if known.
    pub resident_memory: Option<u64>,
    /// Processor time of all threads, if known.
    pub processor_time: Option<Duration>,
    /// When it was started, since the beginning of 1970.
    pub started: Duration,
}

/// One application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationStatus {
    /// Its processes.
    pub processes: Processes,
    /// Its requests in progress.
    pub active_requests: u64,
    /// Counters of its instances. Unit has no such member.
    pub instances: ApplicationInstances,
}

/// Instances of one application, since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationInstances {
    /// Those that exist now.
    pub active: u64,
    /// Those that were started.
    pub started: u64,
    /// Linear memories and tables of those that exist now, in bytes.
    pub memory: u64,
    /// The peak of `memory`.
    pub peak_memory: u64,
    /// Files that guests have open, and connections of their outgoing requests.
    pub files: u64,
    /// Execution time of guests.
    pub execution_time: Duration,
    /// Requests by the class of the status that they were answered with.
    pub responses: Vec<(&'static str, u64)>,
    /// Responses that were cut off after their headers had been sent.
    pub cut_off: u64,
    /// Failures by kind.
    pub failures: Vec<(&'static str, u64)>,
}

/// The processes of an application. Where one process serves them all, the
/// implementation decides what counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Running, including idle ones.
    pub running: u64,
    /// Not serving yet.
    pub starting: u64,
    /// Running without a request in progress.
    pub idle: u64,
}

impl Status {
    pub(crate) fn to_value(&self) -> Value {
        let applications = self.applications.iter();
        let config_files = self.config_files.as_ref();
        let config_files = config_files.map(|files| ("config_files", files.to_value()));
        [
            ("modules", self.modules_value()),
            ("connections", self.connections.to_value()),
            (
                "requests",
                [("total", self.requests.into())].into_iter().collect(),
            ),
            ("instances", self.instances.to_value()),
            ("memory", self.memory_value()),
        ]
        .into_iter()
        .chain(config_files)
        .chain([(
            "applications",
            applications
                .map(|(name, one)| (name.as_str(), one.to_value()))
                .collect(),
        )])
        .collect()
    }

    /// What the process's memory is used for, in the parts that are counted.
    fn memory_value(&self) -> Value {
        let resident = self.process.resident_memory;
        let resident = resident.map(|bytes| ("resident", bytes.into()));
        let counted = [
            ("instances", self.instances.memory.into()),
            ("held_for_clients", self.held_for_clients.to_value()),
        ];
        resident.into_iter().chain(counted).collect()
    }

    /// An object for a type that has one module, an array for one with several.
    fn modules_value(&self) -> Value {
        let mut modules = Object::default();
        for module in &self.modules {
            let value = module.to_value();
            let value = match modules.remove(&module.name) {
                None => value,
                Some(Value::Array(mut several)) => {
                    several.push(value);
                    Value::Array(several)
                }
                Some(one) => Value::Array(vec![one, value]),
            };
            modules.set(&module.name, value);
        }
        modules.into()
    }
}

impl ConfigFilesStatus {
    fn to_value(&self) -> Value {
        let problem = self.problem.as_deref();
        [
            ("path", self.path.as_str().into()),
            ("in_force", problem.is_none().into()),
            ("problem", problem.map_or(Value::Null, Value::from)),
        ]
        .into_iter()
        .collect()
    }
}

impl Module {
    fn to_value(&self) -> Value {
        [
            ("version", self.version.as_str().into()),
            ("lib", self.lib.as_str().into()),
        ]
        .into_iter()
        .collect()
    }
}

impl Connections {
    fn to_value(self) -> Value {
        [
            ("accepted", self.accepted.into()),
            ("active", self.active.into()),
            ("idle", self.idle.into()),
            ("closed", self.closed.into()),
        ]
        .into_iter()
        .collect()
    }
}

impl Instances {
    fn to_value(self) -> Value {
        [
            ("active", self.active.into()),
            ("limit", self.limit.into()),
            ("pooled", self.pooled.into()),
            (
                "memory",
                object(&[("current", self.memory), ("limit", self.memory_limit)]),
            ),
        ]
        .into_iter()
        .collect()
    }
}

impl HeldForClients {
    fn to_value(self) -> Value {
        object(&[
            ("current", self.bytes),
            ("limit", self.limit),
            ("ended_connections", self.ended_connections),
        ])
    }
}

impl ApplicationStatus {
    fn to_value(&self) -> Value {
        let Processes {
            running,
            starting,
            idle,
        } = self.processes;
        let processes = [("running", running), ("starting", starting), ("idle", idle)];
        [
            ("processes", object(&processes)),
            ("requests", object(&[("active", self.active_requests)])),
            ("instances", self.instances.to_value()),
        ]
        .into_iter()
        .collect()
    }
}

impl ApplicationInstances {
    fn to_value(&self) -> Value {
        let memory = [("current", self.memory), ("peak", self.peak_memory)];
        [
            ("active", self.active.into()),
            ("started", self.started.into()),
            ("memory", object(&memory)),
            ("files", self.files.into()),
            ("execution_time", self.execution_time.into()),
            ("responses", object(&self.responses)),
            ("cut_off", self.cut_off.into()),
            ("failures", object(&self.failures)),
        ]
        .into_iter()
        .collect()
    }
}

fn object(counts: &[(&str, u64)]) -> Value {
    let members = counts.iter().map(|&(name, count)| (name, count.into()));
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_with_several_modules_lists_them() {
        let module = |name: &str, version: &str| Module {
            name: name.to_owned(),
            version: version.to_owned(),
            lib: "l".to_owned(),
        };
        let modules = vec![module("wasm", "2"), module("x", "1"), module("wasm", "1")];
        let status = Status {
            modules,
            ..Status::default()
        };
        assert_eq!(
            config::print(&status.modules_value()),
            r#"{"x":{"version":"1","lib":"l"},"wasm":[{"version":"2","lib":"l"},{"version":"1","lib":"l"}]}"#,
        );
    }
}

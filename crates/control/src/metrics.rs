//! The counters of `/status/metrics`.

use std::time::Duration;

use crate::exposition::{Exposition, Kind};
use crate::{ApplicationStatus, Status};

/// Bytes of text about the server, roughly, and about each application.
const SERVER: usize = 8 << 10;
const APPLICATION: usize = 3 << 10;

impl Status {
    /// All of it, and what there is of the process, as Prometheus reads it
    /// ([`METRICS_CONTENT_TYPE`](crate::METRICS_CONTENT_TYPE)). With thousands of applications this takes
    /// milliseconds.
    #[must_use]
    pub fn to_metrics(&self) -> String {
        let applications = self.applications.len().saturating_mul(APPLICATION);
        let mut out = Exposition::with_capacity(SERVER + applications);
        server(&mut out, self);
        instances(&mut out, self);
        held_for_clients(&mut out, self);
        process(&mut out, self);
        applications_loaded(&mut out, &self.applications);
        instances_of_applications(&mut out, &self.applications);
        answers_of_applications(&mut out, &self.applications);
        out.finish()
    }
}

fn server(out: &mut Exposition, status: &Status) {
    out.metric(
        "wasmtime_unitd_build_info",
        Kind::Gauge,
        "Always 1; the labels say what is running.",
    )
    .sample(&[("version", &status.version)], 1);
    if let Some(files) = &status.config_files {
        out.metric(
            "wasmtime_unitd_config_files_in_force",
            Kind::Gauge,
            "Whether the files of the configuration as they are now are in force (1) or an earlier version (0).",
        )
        .sample(&[], u8::from(files.problem.is_none()));
    }
    let connections = &status.connections;
    out.metric(
        "wasmtime_unitd_connections_accepted_total",
        Kind::Counter,
        "Connections of clients that were accepted.",
    )
    .sample(&[], connections.accepted);
    out.metric(
        "wasmtime_unitd_connections_closed_total",
        Kind::Counter,
        "Connections of clients that were closed.",
    )
    .sample(&[], connections.closed);
    let mut open = out.metric(
        "wasmtime_unitd_connections",
        Kind::Gauge,
        "Open connections of clients, with a request in progress (active) or without (idle).",
    );
    open.sample(&[("state", "active")], connections.active);
    open.sample(&[("state", "idle")], connections.idle);
    out.metric(
        "wasmtime_unitd_requests_total",
        Kind::Counter,
        "Requests of clients.",
    )
    .sample(&[], status.requests);
}

fn instances(out: &mut Exposition, status: &Status) {
    let instances = &status.instances;
    for (name, help, value) in [
        (
            "wasmtime_unitd_instances",
            "Instances that exist, of all applications.",
            instances.active,
        ),
        (
            "wasmtime_unitd_instances_limit",
            "Limit of instances at a time.",
            instances.limit,
        ),
        (
            "wasmtime_unitd_instances_pooled",
            "Whether instances come from a pool.",
            instances.pooled.into(),
        ),
        (
            "wasmtime_unitd_instances_memory_bytes",
            "Linear memories and tables of all instances.",
            instances.memory,
        ),
        (
            "wasmtime_unitd_instances_memory_limit_bytes",
            "Limit of the linear memories and tables of all instances together.",
            instances.memory_limit,
        ),
    ] {
        out.metric(name, Kind::Gauge, help).sample(&[], value);
    }
    out.metric(
        "wasmtime_unitd_epoch_ticks_total",
        Kind::Counter,
        "Ticks at which computing guests yield to others.",
    )
    .sample(&[], status.epoch_ticks);
}

fn held_for_clients(out: &mut Exposition, status: &Status) {
    let held = &status.held_for_clients;
    for (name, kind, help, value) in [
        (
            "wasmtime_unitd_held_for_clients_bytes",
            Kind::Gauge,
            "Response data in memory that clients have not read yet.",
            held.bytes,
        ),
        (
            "wasmtime_unitd_held_for_clients_limit_bytes",
            Kind::Gauge,
            "Limit of response data in memory; beyond it, connections are reset.",
            held.limit,
        ),
        (
            "wasmtime_unitd_connections_ended_for_held_data_total",
            Kind::Counter,
            "Connections that were reset because their clients did not read their responses.",
            held.ended_connections,
        ),
    ] {
        out.metric(name, kind, help).sample(&[], value);
    }
}

/// The names are those that Prometheus' own libraries have.
fn process(out: &mut Exposition, status: &Status) {
    let process = &status.process;
    if let Some(bytes) = process.resident_memory {
        out.metric(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory of the process.",
        )
        .sample(&[], bytes);
    }
    if let Some(time) = process.processor_time {
        out.metric(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Processor time of all threads of the process.",
        )
        .sample(&[], seconds(time));
    }
    out.metric(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process was started, in seconds since 1970.",
    )
    .sample(&[], seconds(process.started));
}

type Applications = [(String, ApplicationStatus)];

fn applications_loaded(out: &mut Exposition, applications: &Applications) {
    let mut loaded = out.metric(
        "wasmtime_unitd_application_loaded",
        Kind::Gauge,
        "Whether the application is loaded.",
    );
    for (name, one) in applications {
        loaded.sample(&[("application", name)], one.processes.running);
    }
    let mut active = out.metric(
        "wasmtime_unitd_application_requests",
        Kind::Gauge,
        "Requests in progress.",
    );
    for (name, one) in applications {
        active.sample(&[("application", name)], one.active_requests);
    }
}

fn instances_of_applications(out: &mut Exposition, applications: &Applications) {
    for (name, kind, help, value) in [
        (
            "wasmtime_unitd_application_instances",
            Kind::Gauge,
            "Instances that exist.",
            (|one| one.instances.active) as fn(&ApplicationStatus) -> u64,
        ),
        (
            "wasmtime_unitd_application_instances_started_total",
            Kind::Counter,
            "Instances that were started.",
            |one| one.instances.started,
        ),
        (
            "wasmtime_unitd_application_memory_bytes",
            Kind::Gauge,
            "Linear memories and tables of all instances.",
            |one| one.instances.memory,
        ),
        (
            "wasmtime_unitd_application_memory_peak_bytes",
            Kind::Gauge,
            "Peak of the linear memories and tables of all instances.",
            |one| one.instances.peak_memory,
        ),
        (
            "wasmtime_unitd_application_open_files",
            Kind::Gauge,
            "Files that guests have open, and connections of their outgoing requests.",
            |one| one.instances.files,
        ),
        (
            "wasmtime_unitd_application_responses_cut_off_total",
            Kind::Counter,
            "Responses that were cut off after their headers had been sent.",
            |one| one.instances.cut_off,
        ),
    ] {
        let mut metric = out.metric(name, kind, help);
        for (name, one) in applications {
            metric.sample(&[("application", name)], value(one));
        }
    }
    let mut time = out.metric(
        "wasmtime_unitd_application_execution_seconds_total",
        Kind::Counter,
        "Execution time of guests.",
    );
    for (name, one) in applications {
        let value = seconds(one.instances.execution_time);
        time.sample(&[("application", name)], value);
    }
}

fn answers_of_applications(out: &mut Exposition, applications: &Applications) {
    let mut responses = out.metric(
        "wasmtime_unitd_application_responses_total",
        Kind::Counter,
        "Requests by the class of the status that they were answered with.",
    );
    for (name, one) in applications {
        for (class, count) in &one.instances.responses {
            responses.sample(&[("application", name), ("class", class)], count);
        }
    }
    let mut failures = out.metric(
        "wasmtime_unitd_application_failures_total",
        Kind::Counter,
        "Failures by kind: of guests, timeouts, and refused requests.",
    );
    for (name, one) in applications {
        for (kind, count) in &one.instances.failures {
            failures.sample(&[("application", name), ("kind", kind)], count);
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

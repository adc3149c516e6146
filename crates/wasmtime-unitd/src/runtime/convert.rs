//! Converts checked configuration into the settings of `engine` and `server`. Decides nothing and opens nothing.

use engine::{Access, Directory, GuestAuthority, Instances, Output, OutputFile};
use http::HeaderValue;
use server::{AccessLog, LogFormat, Settings, Timeouts};
use static_files::MimeTypes;

/// The value of the `Server` header of responses.
pub(crate) fn server_name(with_version: bool) -> HeaderValue {
    HeaderValue::from_static(if with_version {
        concat!("wasmtime-unitd/", env!("CARGO_PKG_VERSION"))
    } else {
        "wasmtime-unitd"
    })
}

/// Destinations of an application's standard streams.
pub(super) struct Outputs {
    pub(super) stdout: Output,
    pub(super) stderr: Output,
}

pub(super) fn settings(config: &config::Settings, access_log: Option<AccessLog>) -> Settings {
    let config::Settings {
        listen_threads,
        header_read_timeout,
        body_read_timeout,
        send_timeout,
        idle_timeout,
        max_body_size,
        discard_unsafe_fields,
        chunked_transform,
        server_version,
        log_route,
        // Used by shares only: see `mime_types`.
        mime_types: _,
    } = *config;
    Settings {
        name: server_name(server_version),
        timeouts: Timeouts {
            header_read: header_read_timeout,
            body_read: body_read_timeout,
            send: send_timeout,
            idle: idle_timeout,
            ..Timeouts::default()
        },
        max_body_size,
        discard_unsafe_fields,
        hold_uploads: chunked_transform,
        log_route,
        access_log,
        workers: listen_threads.and_then(|threads| threads.try_into().ok()),
    }
}

/// MIME types by file extension: the built-in ones and those of the configuration.
pub(super) fn mime_types(config: &config::Settings) -> MimeTypes {
    let added = config.mime_types.iter();
    let types = MimeTypes::new(added.map(|(name, extension)| (&**name, &**extension)));
    // Cannot fail: `config` has checked them.
    types.unwrap_or_default()
}

pub(super) fn access_log(config: &config::AccessLog, file: OutputFile) -> AccessLog {
    let format = match &config.format {
        config::LogFormat::Text(template) => LogFormat::Text(template.clone()),
        config::LogFormat::Json(members) => LogFormat::Json(members.clone()),
    };
    AccessLog::new(file, format, config.condition.clone())
}

pub(super) fn application(config: &config::Application, outputs: Outputs) -> engine::Settings {
    let config::Access {
        filesystem,
        outbound_http,
    } = &config.access;
    let config::Limits {
        timeout,
        execution_timeout,
        memory,
        concurrency,
        files,
        weight,
    } = config.limits;
    let defaults = engine::Limits::default();
    engine::Settings {
        environment: config.environment.clone(),
        directories: filesystem.iter().map(directory).collect(),
        outbound: outbound_http.clone(),
        authority: config.authority.map(authority),
        instances: Instances {
            reuse: config.instances.reuse,
            concurrency: config.instances.concurrency,
        },
        limits: engine::Limits {
            timeout: timeout.unwrap_or(defaults.timeout),
            execution_timeout: execution_timeout.unwrap_or(defaults.execution_timeout),
            memory: memory.unwrap_or(defaults.memory),
            concurrency: concurrency.or(defaults.concurrency),
            files: files.unwrap_or(defaults.files),
            weight: weight.unwrap_or(defaults.weight),
            ..defaults
        },
        stdout: outputs.stdout,
        stderr: outputs.stderr,
        ..engine::Settings::new(config.name.as_str())
    }
}

fn authority(config: config::Authority) -> GuestAuthority {
    match config {
        config::Authority::ServerName => GuestAuthority::ServerName,
        config::Authority::Host => GuestAuthority::Host,
    }
}

fn directory(folder: &config::Folder) -> Directory {
    Directory {
        host: folder.path.clone(),
        guest: folder.name.clone(),
        access: if folder.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
    }
}

//! `settings` of all listeners.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderValue;

use super::checker::{Checker, is_empty, shortened};
use super::compression::{self, COMPRESSION};
use super::error::ConfigError;
use super::patterns;
use super::table::{Form, Interval, Items, Kinds, Map, Member, Table, Text};
use super::telemetry::{self, TELEMETRY};
use crate::Value;

/// The settings of all listeners. The defaults are Unit's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The threads that serve connections; `None` is the server's default.
    pub listen_threads: Option<NonZeroU32>,
    /// The time-out for the header section of a request, from its first byte.
    pub header_read_timeout: Duration,
    /// The time-out between two pieces of a request's body.
    pub body_read_timeout: Duration,
    /// The time-out between two pieces of a response.
    pub send_timeout: Duration,
    /// The keep-alive time-out: until the first byte of the next request.
    pub idle_timeout: Duration,
    /// The largest body of a request, in bytes.
    pub max_body_size: u64,
    /// Whether request fields are dropped if their names contain other characters than letters, digits and hyphens.
    pub discard_unsafe_fields: bool,
    /// Whether chunked request bodies are sent to proxied servers with a `Content-Length`.
    pub chunked_transform: bool,
    /// Whether responses contain the server's version.
    pub server_version: bool,
    /// Whether the routing of requests is logged.
    pub log_route: bool,
    /// Pairs of a MIME type, and an extension or file name, which are unique without regard to case.
    pub mime_types: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        let timeout = Duration::from_secs(30);
        Self {
            listen_threads: None,
            header_read_timeout: timeout,
            body_read_timeout: timeout,
            send_timeout: timeout,
            idle_timeout: Duration::from_secs(180),
            max_body_size: 8 << 20,
            discard_unsafe_fields: true,
            chunked_transform: false,
            server_version: true,
            log_route: false,
            mime_types: Vec::new(),
        }
    }
}

pub(super) static SETTINGS: Table = Table::new(
    "settings",
    "Options that apply to all listeners.",
    &[&[
        Member::optional(
            "listen_threads",
            &[Form::Integer(THREADS)],
            "Threads that get new connections; all of the server's threads by default.",
        ),
        Member::optional("http", &[Form::Object(&HTTP)], "Options of HTTP."),
        Member::optional(
            "telemetry",
            &[Form::Empty, Form::Object(&TELEMETRY)],
            "Without effect, since this server sends no traces.",
        ),
    ]],
);

static HTTP: Table = Table::new(
    "http",
    "Options of HTTP.",
    &[&[
        Member::optional(
            "header_read_timeout",
            TIMEOUT,
            "Seconds for a request's header section to arrive; 30 by default.",
        ),
        Member::optional(
            "body_read_timeout",
            TIMEOUT,
            "Seconds between two pieces of a request's body; 30 by default.",
        ),
        Member::optional(
            "send_timeout",
            TIMEOUT,
            "Seconds for which a client may accept nothing of a response; 30 by default.",
        ),
        Member::optional(
            "idle_timeout",
            TIMEOUT,
            "Seconds from a request to the first byte of the next on its connection; 180 by default.",
        ),
        Member::optional(
            "large_header_buffer_size",
            SIZE,
            "Without effect, since header sections are limited to 32 KiB in any case.",
        ),
        Member::optional(
            "large_header_buffers",
            SIZE,
            "Without effect, since header sections are limited to 32 KiB in any case.",
        ),
        Member::optional(
            "body_buffer_size",
            SIZE,
            "Without effect, since bodies are streamed.",
        ),
        Member::optional(
            "max_body_size",
            SIZE,
            "Bytes that a request's body may have; 8388608 (8 MiB) by default.",
        ),
        Member::optional(
            "body_temp_path",
            Form::STRING,
            "Without effect, since bodies are streamed and never written to files.",
        ),
        Member::optional(
            "discard_unsafe_fields",
            Form::BOOLEAN,
            "Whether request fields are dropped if their names have other characters than letters, digits and \
             hyphens; true by default.",
        ),
        Member::optional(
            "websocket",
            &[Form::Object(&WEBSOCKET)],
            "Without effect, since no application speaks WebSocket.",
        ),
        Member::optional(
            "static",
            &[Form::Object(&STATIC)],
            "Options of static files.",
        ),
        Member::optional(
            "log_route",
            Form::BOOLEAN,
            "Whether the log has each request and each step of a route that is selected or not; false by default.",
        ),
        Member::optional(
            "server_version",
            Form::BOOLEAN,
            "Whether the response's Server field includes the version; true by default.",
        ),
        Member::optional(
            "chunked_transform",
            Form::BOOLEAN,
            "Whether a chunked body for another server is buffered and sent with its length; false by default.",
        ),
        Member::optional(
            "compression",
            &[Form::Object(&COMPRESSION)],
            "Without effect, since responses are not compressed.",
        ),
    ]],
);

static WEBSOCKET: Table = Table::new(
    "websocket",
    "Unit's options of WebSocket, without effect.",
    &[&[
        Member::optional(
            "read_timeout",
            SIZE,
            "Without effect: seconds for which a client may send nothing.",
        ),
        Member::optional(
            "keepalive_interval",
            SIZE,
            "Without effect: seconds between two pings.",
        ),
        Member::optional("max_frame_size", SIZE, "Without effect: bytes of a frame."),
    ]],
);

static STATIC: Table = Table::new(
    "static",
    "Options of static files.",
    &[&[Member::optional(
        "mime_types",
        &[Form::Map(
            Map::of(&[
                Form::String(Text::NOT_EMPTY),
                Form::Array(Items::of(&[Form::String(Text::NOT_EMPTY)])),
            ])
            // What no field of a header section may have.
            .with_names(Text::ANY.without(r"[\u0000-\u0008\u000a-\u001f\u007f]")),
        )],
        "Extensions, such as .html, and names of files by MIME type, in addition to the server's own table.",
    )]],
);

const THREADS: Interval = Interval {
    least: 1,
    most: i32::MAX as i64,
};

/// A time-out in seconds; Unit stores milliseconds in 32 bits. Stricter than Unit, which accepts numbers below one,
/// with which every request would time out.
const SECONDS: Interval = Interval {
    least: 1,
    most: 4_294_967,
};

const TIMEOUT: &[Form] = &[Form::Integer(SECONDS)];

/// A number of bytes, and in Unit some others.
const BYTES: Interval = Interval::at_least(0);

const SIZE: &[Form] = &[Form::Integer(BYTES)];

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    checker.members(value, &SETTINGS, |checker, name, value| {
        match name {
            "http" => check_http(checker, value, &mut settings)?,
            "listen_threads" => {
                let threads = checker.number(name, value, THREADS)?;
                settings.listen_threads = u32::try_from(threads).ok().and_then(NonZeroU32::new);
            }
            // `telemetry`
            _ => telemetry::check(checker, value)?,
        }
        Ok(())
    })?;
    Ok(settings)
}

fn check_http<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
    settings: &mut Settings,
) -> Result<(), ConfigError> {
    checker.members(value, &HTTP, |checker, name, value| {
        let is_true = *value == Value::Bool(true);
        match name {
            "header_read_timeout" => settings.header_read_timeout = seconds(checker, name, value)?,
            "body_read_timeout" => settings.body_read_timeout = seconds(checker, name, value)?,
            "send_timeout" => settings.send_timeout = seconds(checker, name, value)?,
            "idle_timeout" => settings.idle_timeout = seconds(checker, name, value)?,
            "max_body_size" => settings.max_body_size = size(checker, name, value)?,
            "discard_unsafe_fields" => settings.discard_unsafe_fields = is_true,
            "server_version" => settings.server_version = is_true,
            "log_route" => settings.log_route = is_true,
            "static" => checker.members(value, &STATIC, |checker, _, value| {
                settings.mime_types = check_mime_types(checker, value)?;
                Ok(())
            })?,
            "large_header_buffer_size" | "large_header_buffers" => {
                size(checker, name, value)?;
                checker.warn(
                    "header sections are limited to 32 KiB in any case, so this has no effect",
                );
            }
            "body_buffer_size" => {
                size(checker, name, value)?;
                checker.warn("bodies are streamed, so this has no effect");
            }
            "body_temp_path" => {
                checker
                    .warn("bodies are streamed and never written to files, so this has no effect");
            }
            "chunked_transform" if is_true => settings.chunked_transform = true,
            "chunked_transform" => {
                checker.warn("chunked bodies are accepted in any case, so this has no effect");
            }
            "websocket" => {
                checker.members(value, &WEBSOCKET, |checker, name, value| {
                    size(checker, name, value).map(drop)
                })?;
                if !is_empty(value) {
                    checker.warn("no application speaks WebSocket, so this has no effect");
                }
            }
            // `compression`
            _ => compression::check(checker, value)?,
        }
        Ok(())
    })
}

fn seconds(checker: &Checker<'_>, name: &str, value: &Value) -> Result<Duration, ConfigError> {
    let seconds = checker.number(name, value, SECONDS)?;
    Ok(Duration::from_secs(seconds.unsigned_abs()))
}

fn size(checker: &Checker<'_>, name: &str, value: &Value) -> Result<u64, ConfigError> {
    let size = checker.number(name, value, BYTES)?;
    Ok(size.unsigned_abs())
}

fn check_mime_types<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    // By extension, without regard to case.
    let mut taken: HashMap<String, &str> = HashMap::new();
    checker.each(value, |checker, name, value| {
        checker.kind(Some(name), value, Kinds::STRING.or(Kinds::ARRAY))?;
        let shown = shortened(name);
        if HeaderValue::from_str(name).is_err() {
            return Err(checker.error(format!(
                "The \"{shown}\" MIME type is not a valid value of a header field."
            )));
        }
        patterns::one_or_several(checker, value, |checker, value| {
            let extension = value.as_str().ok_or_else(|| {
                checker.error(format!(
                    "The \"{shown}\" MIME type array must contain only strings."
                ))
            })?;
            if extension.is_empty() {
                return Err(checker.error(format!(
                    "An empty file extension for the \"{shown}\" MIME type."
                )));
            }
            if let Some(other) = taken.insert(extension.to_ascii_lowercase(), name) {
                return Err(checker.error(format!(
                    "The \"{extension}\" file extension has been declared for \"{other}\" and \
                     \"{name}\" MIME types at the same time."
                )));
            }
            pairs.push((name.to_owned(), extension.to_owned()));
            Ok(())
        })
    })?;
    Ok(pairs)
}

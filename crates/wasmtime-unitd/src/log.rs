//! The server's log: one line an event, to a file that can be reopened or to standard error.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{self as lines, FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

/// Our own crates, whose events are the log's. Those of libraries are logged from a warning on.
const OWN: [&str; 4] = ["wasmtime_unitd", "control", "engine", "server"];

/// The open log. Clones are the same.
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

pub(crate) enum Inner {
    Stderr,
    File { path: PathBuf, file: Mutex<File> },
}

impl Log {
    /// Opens the log and sends all events there from now on.
    pub(crate) fn start(path: Option<&Path>, level: Level) -> Result<Self> {
        let inner = match path {
            None => Inner::Stderr,
            Some(path) => Inner::File {
                path: path.to_owned(),
                file: Mutex::new(open(path)?),
            },
        };
        let log = Self(Arc::new(inner));
        let targets = OWN.iter().fold(
            Targets::new().with_default(Level::WARN.min(level)),
            |targets, own| targets.with_target(*own, level),
        );
        let layer = lines::layer()
            .event_format(Format)
            .with_writer(log.clone())
            // A log that cannot be written to must not end in a panic.
            .log_internal_errors(false)
            .with_filter(targets);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
        Ok(log)
    }

    /// Opens the file of the same name again, after someone has moved the old one away.
    pub(crate) fn reopen(&self) -> Result<()> {
        if let Inner::File { path, file } = &*self.0 {
            // Opened first: if this fails, the old file goes on.
            let new = open(path)?;
            *file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// The log's file, to hand it to another user.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &*self.0 {
            Inner::Stderr => None,
            Inner::File { path, .. } => Some(path),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Inner;

    fn make_writer(&'a self) -> &'a Inner {
        &self.0
    }
}

impl Write for &Inner {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Inner::Stderr => io::stderr().write(line),
            Inner::File { file, .. } => file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `2026/01/31 12:00:00.123 [info] application "a" request 0f… message key=value`
struct Format;

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = Zoned::now();
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        write!(
            writer,
            "{} [{level}] ",
            now.strftime("%Y/%m/%d %H:%M:%S%.3f")
        )?;
        for text in [&fields.request, &fields.message, &fields.others] {
            write_escaped(&mut writer, text)?;
        }
        writer.write_char('\n')
    }
}

/// An event is one line, whatever its text was made of: a name in a component may have line feeds.
fn write_escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for piece in text.split_inclusive(|c: char| c.is_control() && c != '\t') {
        match piece.char_indices().next_back() {
            Some((end, c)) if c.is_control() && c != '\t' => {
                writer.write_str(&piece[..end])?;
                write!(writer, "{}", c.escape_default())?;
            }
            _ => writer.write_str(piece)?,
        }
    }
    Ok(())
}

/// The fields of an event, sorted for reading.
#[derive(Default)]
struct Fields {
    request: String,
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => self.message.write_str(value),
            "application" => write!(self.request, "application {value:?} "),
            "request" => write!(self.request, "request {value} "),
            name => write!(self.others, " {name}={value:?}"),
        };
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "request" => write!(self.request, "request {value:?} "),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let mut line = String::new();
        write_escaped(&mut Writer::new(&mut line), "a\nb\u{1b}[0m\tc\r\n").unwrap();
        assert_eq!(line, "a\\nb\\u{1b}[0m\tc\\r\\n");
    }
}

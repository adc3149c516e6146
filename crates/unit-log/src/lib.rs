//! Unit's log lines, of [`tracing`] events: one line an event, whatever its text was made of.

use std::fmt::{self, Write as _};

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What is logged: events of the crates in `own` from `level` on, and those of libraries from a
/// warning on.
#[must_use]
pub fn targets(own: &[&str], level: Level) -> Targets {
    let libraries = Targets::new().with_default(Level::WARN.min(level));
    own.iter()
        .fold(libraries, |targets, own| targets.with_target(*own, level))
}

/// The end of the target of events that are notices: more than an information and less than a warning,
/// for which `tracing` has no level of its own.
pub const NOTICE: &str = "::notice";

/// The form of the lines: a time, a level, in a language module the process and thread, the
/// request that the event is about, the message, and what else the event has.
///
/// ```text
/// 2026/01/31 12:00:00.123 [info] application "a" request 0f… message key=value
/// 2026/01/31 12:00:00 [info] 4711#4712 application "a" request 0f… message key=value
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// The daemon's own: times have milliseconds.
    Daemon,
    /// Those of unitd and its processes, which share a file.
    Module,
}

impl<S, N> FormatEvent<S, N> for Lines
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
        let is_notice = event.metadata().target().ends_with(NOTICE);
        let level = match *event.metadata().level() {
            Level::INFO if is_notice => "notice",
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        match self {
            Self::Daemon => {
                let now = now.strftime("%Y/%m/%d %H:%M:%S%.3f");
                write!(writer, "{now} [{level}] ")?;
            }
            Self::Module => {
                let now = now.strftime("%Y/%m/%d %H:%M:%S");
                let (process, thread) = (std::process::id(), nix::unistd::gettid());
                write!(writer, "{now} [{level}] {process}#{thread} ")?;
            }
        }
        for text in [&fields.request, &fields.message, &fields.others] {
            write_escaped(&mut writer, text)?;
        }
        writer.write_char('\n')
    }
}

/// An event is one line, whatever its text was made of: a name in a component may have line feeds.
fn write_escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for piece in text.split_inclusive(is_escaped) {
        match piece.char_indices().next_back() {
            Some((end, c)) if is_escaped(c) => {
                writer.write_str(&piece[..end])?;
                write!(writer, "{}", c.escape_default())?;
            }
            _ => writer.write_str(piece)?,
        }
    }
    Ok(())
}

/// Whether a character would do something, other than to show: controls, those that reorder what a
/// reader sees of the line, and separators of lines.
fn is_escaped(c: char) -> bool {
    let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\t') || reorders || matches!(c, '\u{2028}' | '\u{2029}')
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

    #[test]
    fn no_character_reorders_an_event() {
        let mut line = String::new();
        write_escaped(
            &mut Writer::new(&mut line),
            "é\u{202e}b\u{2066}c\u{2028}\u{9b}",
        )
        .unwrap();
        assert_eq!(line, r"é\u{202e}b\u{2066}c\u{2028}\u{9b}");
    }
}

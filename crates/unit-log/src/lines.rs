//! The format of a log line, which is Unit's.

use std::backtrace::Backtrace;
use std::fmt::{self, Write as _};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::NOTICE;
use crate::text::{BoundedText, Escaped};

/// Bytes of a line's message. A piece of 8 KiB of a guest's output fits, unless more than a
/// fifth of it is escaped, or half of it is not UTF-8.
const MAX_MESSAGE: usize = 16 * 1024;

/// Bytes of all other fields of an event together.
const MAX_FIELDS: usize = 2 * 1024;

/// Characters of an application's name; a configuration may have one of megabytes.
const MAX_NAME: usize = 128;

/// The format of the lines: time, level, in a language module the process and thread, application and request,
/// message, and the other fields of the event.
///
/// ```text
/// 2026/01/31 12:00:00.123 [info] application "a" request 0f… message key=value
/// 2026/01/31 12:00:00 [info] 4711#4712 application "a" request 0f… message key=value
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Of the daemon's log: times have milliseconds.
    Daemon,
    /// Of unitd's log, which several processes write to.
    Module,
}

impl Lines {
    /// A line that is not an event's: about the log itself, or of a panic, which logging may have caused.
    #[must_use]
    pub fn line(&self, level: Level, text: impl fmt::Display) -> String {
        let mut message = BoundedText::new(MAX_MESSAGE);
        let mut line = String::new();
        // It fails when the message is cut.
        let _ = write!(Escaped(&mut message), "{text}");
        // Writing to text in memory cannot fail.
        let _ = self.begin(&mut line, level_name(level));
        let _ = writeln!(line, "{message}");
        line
    }

    /// The line for a panic, for use in a panic hook: with a backtrace if `RUST_BACKTRACE` asks for one, as the
    /// default hook has it. All of it is one line of a bounded length.
    #[must_use]
    pub fn panic(&self, panic: &PanicHookInfo<'_>) -> String {
        if wants_backtrace() {
            let backtrace = Backtrace::force_capture();
            self.line(
                Level::ERROR,
                format_args!("{panic}\nstack backtrace:\n{backtrace}"),
            )
        } else {
            self.line(Level::ERROR, panic)
        }
    }

    fn begin(&self, line: &mut impl fmt::Write, level: &str) -> fmt::Result {
        let now = Zoned::now();
        match self {
            Self::Daemon => {
                let now = now.strftime("%Y/%m/%d %H:%M:%S%.3f");
                write!(line, "{now} [{level}] ")
            }
            Self::Module => {
                let now = now.strftime("%Y/%m/%d %H:%M:%S");
                let (process, thread) = (std::process::id(), nix::unistd::gettid());
                write!(line, "{now} [{level}] {process}#{thread} ")
            }
        }
    }
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
        let is_notice = event.metadata().target().ends_with(NOTICE);
        let level = match *event.metadata().level() {
            Level::INFO if is_notice => "notice",
            level => level_name(level),
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.begin(&mut writer, level)?;
        let Fields {
            request,
            message,
            others,
        } = &fields;
        writeln!(writer, "{request}{message}{others}")
    }
}

/// Whether panics have backtraces. The environment is read once, as by the default panic hook.
fn wants_backtrace() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0"))
}

/// The word for a level in a line, but for [`NOTICE`].
pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The fields of an event, sorted for reading, escaped and bounded.
struct Fields {
    request: String,
    message: BoundedText,
    others: BoundedText,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            request: String::new(),
            message: BoundedText::new(MAX_MESSAGE),
            others: BoundedText::new(MAX_FIELDS),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // It fails when the text is cut.
        let _ = match field.name() {
            "message" => Escaped(&mut self.message).write_str(value),
            "application" => write!(self.request, "application {} ", Name(value)),
            "request" => write!(Escaped(&mut self.request), "request {value} "),
            name => write!(Escaped(&mut self.others), " {name}={value:?}"),
        };
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(Escaped(&mut self.message), "{value:?}"),
            "request" => write!(Escaped(&mut self.request), "request {value:?} "),
            name => write!(Escaped(&mut self.others), " {name}={value:?}"),
        };
    }
}

/// An application's name in quotation marks, cut to [`MAX_NAME`] characters.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_NAME) {
            None => write!(Escaped(f), "{:?}", self.0),
            Some((end, _)) => write!(Escaped(f), "{:?}…", &self.0[..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_application_name_is_cut() {
        let name = Name(&"é".repeat(1 << 20)).to_string();
        assert_eq!(name, format!("\"{}\"…", "é".repeat(MAX_NAME)));
        assert_eq!(Name("a\u{202e}").to_string(), "\"a\\u{202e}\"");
    }

    #[test]
    fn a_long_message_is_cut_after_it_is_escaped() {
        let line = Lines::Daemon.line(Level::INFO, "\u{1b}".repeat(MAX_MESSAGE));
        let (_, message) = line.split_once("[info] ").unwrap();
        let message = message.strip_suffix("… (cut)\n").unwrap();
        // The last escape is cut, and what is kept of it is harmless.
        assert_eq!(message.len(), MAX_MESSAGE);
        assert!(message.starts_with("\\u{1b}\\u{1b}"));
    }
}

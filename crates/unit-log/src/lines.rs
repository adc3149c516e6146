//! The forms of a log line.

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

use crate::json;
use crate::limits::{MAX_FIELDS, MAX_MESSAGE, MAX_NAME, Severity};
use crate::text::{BoundedText, Escaped};

/// The form of the lines. As text: time, level, in a language module the process and thread, application and request,
/// message, and the other fields of the event.
///
/// ```text
/// 2026/01/31 12:00:00.123 [info] application "a" request 0f… message key="value"
/// 2026/01/31 12:00:00 [info] 4711#4712 application "a" request 0f… message key="value"
/// <6>[info] application "a" request 0f… message key="value"
/// {"time":"2026-01-31T11:00:00.123Z","level":"info","target":"…","message":"message","application":"a","key":"value"}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Of the daemon's log: times have milliseconds.
    Daemon,
    /// Of unitd's log, which several processes write to.
    Module,
    /// Of standard error that systemd's journal reads: it adds the time, and takes the level from the number in front
    /// (sd-daemon(3)).
    Journal,
    /// Of the daemon's log, as JSON.
    Json,
}

impl Lines {
    /// A line about the log itself.
    #[must_use]
    pub fn line(&self, level: Level, text: impl fmt::Display) -> String {
        self.own_line(level, "unit_log", text)
    }

    /// The line for a panic, for use in a panic hook: with a backtrace if `RUST_BACKTRACE` asks for one, as the
    /// default hook has it. All of it is one line of a bounded length.
    #[must_use]
    pub fn panic(&self, panic: &PanicHookInfo<'_>) -> String {
        const TARGET: &str = "panic";
        if wants_backtrace() {
            let backtrace = Backtrace::force_capture();
            let text = format_args!("{panic}\nstack backtrace:\n{backtrace}");
            self.own_line(Level::ERROR, TARGET, text)
        } else {
            self.own_line(Level::ERROR, TARGET, panic)
        }
    }

    /// A line that is not an event's, since logging an event may have caused it.
    fn own_line(&self, level: Level, target: &str, text: impl fmt::Display) -> String {
        if *self == Self::Json {
            return json::text_line(level, target, text);
        }
        let mut message = BoundedText::new(MAX_MESSAGE);
        let mut line = String::new();
        // It fails when the message is cut.
        let _ = write!(Escaped(&mut message), "{text}");
        // Writing to text in memory cannot fail.
        let _ = self.begin(&mut line, level.into());
        let _ = writeln!(line, "{message}");
        line
    }

    /// What is before the message in a line of text.
    fn begin(&self, line: &mut impl fmt::Write, severity: Severity) -> fmt::Result {
        let Severity { name, priority } = severity;
        match self {
            Self::Daemon => {
                let now = Zoned::now().strftime("%Y/%m/%d %H:%M:%S%.3f");
                write!(line, "{now} [{name}] ")
            }
            Self::Module => {
                let now = Zoned::now().strftime("%Y/%m/%d %H:%M:%S");
                let (process, thread) = (std::process::id(), nix::unistd::gettid());
                write!(line, "{now} [{name}] {process}#{thread} ")
            }
            Self::Journal => write!(line, "<{priority}>[{name}] "),
            // Has no such beginning.
            Self::Json => Ok(()),
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
        if *self == Self::Json {
            return writer.write_str(&json::event_line(event));
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.begin(&mut writer, Severity::of(event.metadata()))?;
        let Fields {
            origin,
            message,
            others,
        } = &fields;
        writeln!(writer, "{origin}{message}{others}")
    }
}

/// Whether panics have backtraces. The environment is read once, as by the default panic hook.
fn wants_backtrace() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0"))
}

/// The fields of an event, sorted for reading, escaped and bounded.
struct Fields {
    /// The application, the request, and the stream of a guest's output.
    origin: String,
    message: BoundedText,
    others: BoundedText,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            origin: String::new(),
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
            "application" => write!(self.origin, "application {} ", Name(value)),
            "request" => write!(Escaped(&mut self.origin), "request {value} "),
            "stream" => write!(Escaped(&mut self.origin), "{value}: "),
            name => write!(Escaped(&mut self.others), " {name}={value:?}"),
        };
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(Escaped(&mut self.message), "{value:?}"),
            "request" => write!(Escaped(&mut self.origin), "request {value:?} "),
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
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The lines of these events, in this form.
    fn logged(form: Lines, events: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Written(Arc<Mutex<Vec<u8>>>);

        impl io::Write for Written {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                self.0.lock().write(line)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(form)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        String::from_utf8(written.0.lock().clone()).unwrap()
    }

    #[test]
    fn the_fields_of_an_event_are_members_in_json() {
        let text = logged(Lines::Json, || {
            tracing::warn!(
                target: "engine::run",
                application = "a\"b",
                request = %"0f",
                number = 7_u64,
                negative = -7_i64,
                share = 0.5,
                none = f64::NAN,
                is_first = true,
                error = %io::Error::other("bad\n"),
                debug = ?["x"],
                target = "/config",
                "said\u{1b} \"{}\"",
                "hello"
            );
        });
        let (time, rest) = text.split_at(r#"{"time":"2026-01-31T12:00:00.123Z""#.len());
        let time = time.strip_prefix("{\"time\":\"").unwrap();
        let time: jiff::Timestamp = time.strip_suffix('"').unwrap().parse().unwrap();
        assert!(time.duration_until(jiff::Timestamp::now()).as_secs() < 60);
        let expected = r#","level":"warn","target":"engine::run","message":"said\u001b \"hello\"","application":"a\"b","request":"0f","number":7,"negative":-7,"share":0.5,"none":"NaN","is_first":true,"error":"bad\n","debug":"[\"x\"]","field_target":"/config"}"#;
        assert_eq!(rest, format!("{expected}\n"));
    }

    #[test]
    fn a_line_of_json_is_bounded() {
        let long = "\"".repeat(1 << 20);
        let text = logged(Lines::Json, || {
            tracing::info!(application = %long, a = %long, b = %long, c = 1, "{long}");
            tracing::info!(application = long.as_str(), "x");
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].len() < MAX_MESSAGE + MAX_FIELDS + 300,
            "{}",
            lines[0].len()
        );
        let end = r#"\"… (cut)","a":"… (cut)","b":"… (cut)","c":1}"#;
        assert!(lines[0].ends_with(end), "{}", lines[0]);
        let name = r#"\""#.repeat(MAX_NAME);
        assert!(
            lines[1].ends_with(&format!(r#""application":"{name}…"}}"#)),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn lines_for_the_journal_have_a_priority_and_no_time() {
        let text = logged(Lines::Journal, || {
            tracing::error!(application = "a", "one");
            tracing::warn!("two");
            tracing::info!(target: "server::notice", "three");
            tracing::info!(a = 1, "four");
            tracing::debug!("five\n<0>");
        });
        assert_eq!(
            text,
            "<3>[error] application \"a\" one\n<4>[warn] two\n<5>[notice] three\n<6>[info] four a=1\n\
             <7>[debug] five\\n<0>\n"
        );
        let own = Lines::Journal.line(Level::WARN, "lost");
        assert_eq!(own, "<4>[warn] lost\n");
    }

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

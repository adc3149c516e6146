//! Log lines as JSON: one object each, for collectors of logs.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::limits::{MAX_FIELDS, MAX_MESSAGE, MAX_NAME, Severity};
use crate::text::needs_escape;

/// Members that every line has. A field of one of these names gets [`PREFIX`].
const OWN_MEMBERS: [&str; 3] = ["time", "level", "target"];

const PREFIX: &str = "field_";

/// What follows a text that was cut.
const CUT: &str = "… (cut)";

/// The line of an event: `time`, `level`, `target`, `message` and its fields.
pub(crate) fn event_line(event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut fields = JsonFields::default();
    event.record(&mut fields);
    let JsonFields {
        message, others, ..
    } = fields;
    let mut line = begin(Severity::of(metadata), metadata.target());
    line.push_str(",\"message\":\"");
    line.push_str(&message);
    line.push('"');
    line.push_str(&others);
    line.push_str("}\n");
    line
}

/// A line that is not an event's.
pub(crate) fn text_line(level: Level, target: &str, text: impl fmt::Display) -> String {
    let mut line = begin(level.into(), target);
    line.push_str(",\"message\":");
    string(&mut line, MAX_MESSAGE, text);
    line.push_str("}\n");
    line
}

fn begin(severity: Severity, target: &str) -> String {
    // RFC 3339, in UTC: the readers of such a log may be elsewhere.
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let level = severity.name;
    let mut line = format!("{{\"time\":\"{now}\",\"level\":\"{level}\",\"target\":");
    string(&mut line, MAX_NAME, target);
    line
}

/// Appends `value` as a string whose escaped form has up to `limit` bytes, and what says that it was cut. Returns the
/// number of these bytes.
fn string(json: &mut String, limit: usize, value: impl fmt::Display) -> usize {
    json.push('"');
    let written = characters(json, limit, value);
    json.push('"');
    written
}

/// The same without quotation marks.
fn characters(json: &mut String, limit: usize, value: impl fmt::Display) -> usize {
    let mut text = JsonText {
        json,
        left: limit,
        is_cut: false,
    };
    // Fails when the text is cut, which ends the formatting of what is written.
    let _ = write!(text, "{value}");
    let JsonText { left, is_cut, .. } = text;
    if is_cut {
        json.push_str(CUT);
    }
    limit - left
}

/// Escapes what is written to it for a JSON string, and cuts it between two characters. Besides what JSON demands, it
/// escapes what [`needs_escape`].
struct JsonText<'a> {
    json: &'a mut String,
    /// Bytes that may still be written.
    left: usize,
    is_cut: bool,
}

impl fmt::Write for JsonText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let mut copied = 0;
        for (at, c) in text.char_indices() {
            let short = match c {
                '"' => Some("\\\""),
                '\\' => Some("\\\\"),
                '\n' => Some("\\n"),
                '\r' => Some("\\r"),
                '\t' => Some("\\t"),
                _ => None,
            };
            let is_escaped = short.is_some() || needs_escape(c);
            let length = match short {
                Some(short) => short.len(),
                // `\u` and four digits for each unit of UTF-16.
                None if is_escaped => 6 * c.len_utf16(),
                None => c.len_utf8(),
            };
            if length > self.left {
                self.json.push_str(&text[copied..at]);
                self.is_cut = true;
                return Err(fmt::Error);
            }
            self.left -= length;
            if is_escaped {
                self.json.push_str(&text[copied..at]);
                copied = at + c.len_utf8();
                match short {
                    Some(short) => self.json.push_str(short),
                    None => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            write!(self.json, "\\u{unit:04x}")?;
                        }
                    }
                }
            }
        }
        self.json.push_str(&text[copied..]);
        Ok(())
    }
}

/// The fields of an event as members, bounded as those of other lines are.
struct JsonFields {
    /// The message, without quotation marks.
    message: String,
    /// The other members, each after a comma.
    others: String,
    /// Bytes that the values in `others` may still have.
    left: usize,
}

impl Default for JsonFields {
    fn default() -> Self {
        Self {
            message: String::new(),
            others: String::new(),
            left: MAX_FIELDS,
        }
    }
}

impl JsonFields {
    fn begin(&mut self, field: &Field) {
        let name = field.name();
        let prefix = if OWN_MEMBERS.contains(&name) {
            PREFIX
        } else {
            ""
        };
        self.others.push(',');
        // Names are identifiers of the code, and so are their number and length bounded by it.
        string(&mut self.others, MAX_NAME, format_args!("{prefix}{name}"));
        self.others.push(':');
    }

    fn text(&mut self, field: &Field, value: impl fmt::Display) {
        if field.name() == "message" {
            characters(&mut self.message, MAX_MESSAGE, value);
            return;
        }
        self.begin(field);
        self.left -= string(&mut self.others, self.left, value);
    }

    /// A value that is the same in JSON, and short.
    fn literal(&mut self, field: &Field, value: impl fmt::Display) {
        self.begin(field);
        // Writing to a string cannot fail.
        let _ = write!(self.others, "{value}");
    }
}

impl Visit for JsonFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "application" {
            return self.text(field, value);
        }
        // Not out of the fields' bytes, since other members are worth more than the end of a long name.
        self.begin(field);
        let end = value.char_indices().nth(MAX_NAME);
        let name = end.map_or(value, |(end, _)| &value[..end]);
        let more = if end.is_some() { "…" } else { "" };
        string(
            &mut self.others,
            6 * MAX_NAME + more.len(),
            format_args!("{name}{more}"),
        );
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.literal(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.literal(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.literal(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.literal(field, value);
        } else {
            self.text(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(limit: usize, text: &str) -> String {
        let mut json = String::new();
        string(&mut json, limit, text);
        json
    }

    #[test]
    fn control_and_bidirectional_characters_are_escaped_in_json() {
        assert_eq!(
            quoted(1000, "a\"\\\n\r\t\0\u{1b}\u{7f}\u{85}\u{202e}\u{2028}é😀"),
            r#""a\"\\\n\r\t\u0000\u001b\u007f\u0085\u202e\u2028é😀""#
        );
    }

    #[test]
    fn a_json_string_is_cut_before_an_escape_that_does_not_fit() {
        assert_eq!(quoted(7, "\u{1b}\u{1b}"), "\"\\u001b… (cut)\"");
        assert_eq!(quoted(5, "\u{1b}"), "\"… (cut)\"");
        assert_eq!(quoted(3, "ab\n"), "\"ab… (cut)\"");
        assert_eq!(quoted(4, "ab\n"), "\"ab\\n\"");
        assert_eq!(quoted(2, "aé"), "\"a… (cut)\"");
        let long = "\u{1b}".repeat(1 << 20);
        let line = text_line(Level::INFO, "a", &long);
        assert!(line.ends_with("\\u001b… (cut)\"}\n"));
        assert!(line.len() < MAX_MESSAGE + 100, "{} bytes", line.len());
    }
}

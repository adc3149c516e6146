//! Prometheus' text format, version 0.0.4.
//!
//! ```text
//! # HELP requests_total Requests since the start.
//! # TYPE requests_total counter
//! requests_total{application="a \"quoted\" name"} 7
//! ```

use std::fmt::{self, Display, Write as _};

/// The media type of [`Status::to_metrics`](crate::Status::to_metrics).
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a metric is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// It only grows, or starts again from 0. Its name ends in `_total`.
    Counter,
    Gauge,
}

/// A text that grows by one metric after the other.
#[derive(Default)]
pub(crate) struct Exposition {
    text: String,
}

/// One metric, all samples of which stand together.
pub(crate) struct Metric<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// A text of about so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
        }
    }

    /// Begins a metric. What `help` says of it has no backslash and no line end.
    pub(crate) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Metric<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let text = &mut self.text;
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Metric { text, name }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

impl Metric<'_> {
    /// Adds the sample with these labels, whose values may be any text.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", Escaped(text));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A label's value, between its quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        // By far the most have nothing to escape, and there may be hundreds of thousands.
        if !rest
            .bytes()
            .any(|byte| matches!(byte, b'\\' | b'"' | b'\n'))
        {
            return f.write_str(rest);
        }
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            let (plain, escaped) = rest.split_at(at);
            f.write_str(plain)?;
            f.write_str(match escaped.as_bytes().first() {
                Some(b'\\') => "\\\\",
                Some(b'"') => "\\\"",
                _ => "\\n",
            })?;
            rest = &escaped[1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_value_cannot_end_it() {
        let mut exposition = Exposition::default();
        let mut metric = exposition.metric("m", Kind::Gauge, "Help.");
        metric.sample(&[], 1);
        metric.sample(&[("a", "\"} 1\nm \\ é"), ("b", "")], 2);
        assert_eq!(
            exposition.finish(),
            "# HELP m Help.\n# TYPE m gauge\nm 1\nm{a=\"\\\"} 1\\nm \\\\ é\",b=\"\"} 2\n"
        );
    }
}

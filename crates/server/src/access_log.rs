//! The access log: a line for each request, written once its response has been sent or its client has gone.

use std::borrow::Cow;
use std::sync::Arc;

use engine::OutputFile;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use routing::{Condition, Template, Variable, VariableKind, Variables};

use crate::variables::wire_fields::{self, BodyLength};
use crate::variables::{RequestMeta, RequestSnapshot, ResponseMeta, VariableContext};

/// Which requests are logged, in which format, and to which file.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct AccessLog(Arc<AccessLogParts>);

struct AccessLogParts {
    format: LogFormat,
    condition: Option<Condition>,
    file: OutputFile,
    uses_response_fields: bool,
    uses_request_time: bool,
}

/// The format of a line.
#[derive(Clone, Debug)]
pub enum LogFormat {
    /// The expanded template and a line feed. In values, these are escaped as `\x0A`: control and bidirectional
    /// characters ([`needs_escape`](engine::needs_escape)), quotation marks, backslashes, and invalid UTF-8. A missing
    /// value is `-`.
    Text(Template),
    /// A JSON object with these members, whose values are strings.
    Json(Vec<(String, Template)>),
}

impl AccessLog {
    /// Logs requests to `file` if `condition` holds, once their response is over or their client has gone.
    ///
    /// Lines are queued, and written by another thread. Lines beyond the queue's limit, or that cannot be written, are
    /// discarded, and the server's log has their number. The owner of the [`OutputFiles`](engine::OutputFiles) flushes
    /// them at the end.
    #[must_use]
    pub fn new(file: OutputFile, format: LogFormat, condition: Option<Condition>) -> Self {
        let mentions = |kind| {
            let condition = condition.as_ref();
            format.mentions(kind) || condition.is_some_and(|it| it.mentions(kind))
        };
        Self(Arc::new(AccessLogParts {
            uses_response_fields: mentions(VariableKind::ResponseHeader),
            uses_request_time: mentions(VariableKind::RequestTime),
            format,
            condition,
            file,
        }))
    }

    /// Whether it asks how long requests have taken.
    pub(crate) fn uses_request_time(&self) -> bool {
        self.0.uses_request_time
    }

    fn write(&self, context: &VariableContext<'_>) {
        let condition = self.0.condition.as_ref();
        if condition.is_some_and(|condition| !condition.holds(context)) {
            return;
        }
        let mut line = Vec::with_capacity(256);
        match &self.0.format {
            LogFormat::Text(template) => template.log(&Escaped(context), &mut line),
            LogFormat::Json(members) => json(members, context, &mut line),
        }
        line.push(b'\n');
        self.0.file.write_lines(&line, 1);
    }
}

impl LogFormat {
    fn mentions(&self, kind: VariableKind) -> bool {
        match self {
            Self::Text(template) => template.mentions(kind),
            Self::Json(members) => members.iter().any(|(_, it)| it.mentions(kind)),
        }
    }
}

/// The entry of one request, written to the log when it is dropped.
pub(crate) struct AccessLogEntry {
    log: AccessLog,
    request: RequestSnapshot,
    meta: RequestMeta,
    response: Option<LoggedResponse>,
    /// Bytes of the response's body.
    pub(crate) sent: u64,
}

/// A copy of a response's head.
struct LoggedResponse {
    status: StatusCode,
    headers: HeaderMap,
    length: BodyLength,
}

impl AccessLogEntry {
    pub(crate) fn new(log: AccessLog, request: RequestSnapshot, meta: RequestMeta) -> Self {
        Self {
            log,
            request,
            meta,
            response: None,
            sent: 0,
        }
    }

    /// Adds the response's head. If the log uses its fields, it gets its `Date` here, which hyper would set later.
    fn set_response<B: Body>(&mut self, response: &mut Response<B>) {
        let headers = if self.log.0.uses_response_fields {
            wire_fields::set_date(response.headers_mut());
            response.headers().clone()
        } else {
            HeaderMap::new()
        };
        self.response = Some(LoggedResponse {
            status: response.status(),
            headers,
            length: BodyLength::of(response.body()),
        });
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let response = self.response.as_ref();
        let response = response.map(|response| ResponseMeta {
            status: response.status,
            headers: &response.headers,
            length: response.length,
            sent: self.sent,
        });
        let log = &self.log;
        self.request
            .with_context(&self.meta, response, |context| log.write(context));
    }
}

/// Request metadata for routing and the access log.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a request, on the stack; a box would be an allocation for each that is routed"
)]
pub(crate) enum RequestRecord {
    /// Not needed.
    NotNeeded,
    /// Needed by routes only.
    Routed(RequestMeta),
    /// Needed by the access log, too.
    Logged(Box<AccessLogEntry>),
}

impl RequestRecord {
    pub(crate) fn meta(&self) -> Option<&RequestMeta> {
        match self {
            Self::NotNeeded => None,
            Self::Routed(meta) => Some(meta),
            Self::Logged(entry) => Some(&entry.meta),
        }
    }

    /// The entry for the access log, if there is to be one.
    pub(crate) fn into_log_entry<B: Body>(
        self,
        response: &mut Response<B>,
    ) -> Option<Box<AccessLogEntry>> {
        match self {
            Self::NotNeeded | Self::Routed(_) => None,
            Self::Logged(mut entry) => {
                entry.set_response(response);
                Some(entry)
            }
        }
    }
}

/// Variables whose values stay within a line, and within quotation marks.
struct Escaped<'a>(&'a VariableContext<'a>);

impl Variables for Escaped<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, [u8]>> {
        let value = self.0.value(variable)?;
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if value.iter().all(is_plain) {
            return Some(value);
        }
        let mut escaped = Vec::with_capacity(value.len() + 16);
        for chunk in value.utf8_chunks() {
            for char in chunk.valid().chars() {
                let mut bytes = [0; 4];
                let bytes = char.encode_utf8(&mut bytes).as_bytes();
                if engine::needs_escape(char) || matches!(char, '"' | '\\') {
                    escape(bytes, &mut escaped);
                } else {
                    escaped.extend_from_slice(bytes);
                }
            }
            escape(chunk.invalid(), &mut escaped);
        }
        Some(Cow::Owned(escaped))
    }
}

/// Bytes as `\xFF`.
fn escape(bytes: &[u8], escaped: &mut Vec<u8>) {
    for byte in bytes {
        escaped.extend_from_slice(format!("\\x{byte:02X}").as_bytes());
    }
}

fn json(members: &[(String, Template)], context: &VariableContext<'_>, line: &mut Vec<u8>) {
    line.push(b'{');
    for (index, (name, template)) in members.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        string(name, line);
        line.push(b':');
        let mut value = Vec::new();
        template.log(context, &mut value);
        string(&String::from_utf8_lossy(&value), line);
    }
    line.push(b'}');
}

/// A string of JSON (RFC 8259, section 7).
fn string(text: &str, line: &mut Vec<u8>) {
    line.push(b'"');
    for char in text.chars() {
        match char {
            '"' | '\\' => line.extend_from_slice(&[b'\\', char as u8]),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            char if engine::needs_escape(char) => {
                line.extend_from_slice(format!("\\u{:04X}", char as u32).as_bytes());
            }
            char => line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use engine::{OutputFiles, RequestId};
    use http::Request;
    use routing::{Endpoint, Scheme, VariableSet};

    use super::*;
    use crate::connection_info::ConnectionInfo;

    fn template(text: &str) -> Template {
        Template::parse(text, VariableSet::ALL).unwrap()
    }

    /// The lines of a log of this format, of one request with this target and this field.
    fn logged(format: LogFormat, condition: Option<&str>, target: &str, field: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let files = OutputFiles::default();
        let condition = condition.map(|text| Condition::parse(text, VariableSet::ALL).unwrap());
        let log = AccessLog::new(files.open(&path).unwrap(), format, condition);
        let request = Request::builder().uri(target).header("host", "a.example");
        let request = request.header("x-field", field).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let info = ConnectionInfo {
            scheme: Scheme::Http,
            source: Endpoint::Unix,
            destination: Endpoint::Unix,
        };
        let meta = RequestMeta::new(RequestId::next(), &parts, Instant::now());
        let snapshot = RequestSnapshot::of(&parts, info);
        // The file is closed with its last owner, and closed files are not flushed.
        let entry = AccessLogEntry::new(log.clone(), snapshot, meta);
        let record = RequestRecord::Logged(Box::new(entry));
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::CREATED;
        let mut entry = record.into_log_entry(&mut response).unwrap();
        entry.sent = 12;
        drop(entry);
        files.flush(Duration::from_secs(20));
        drop(log);
        std::fs::read_to_string(path).unwrap()
    }

    #[tokio::test]
    async fn an_access_log_has_a_line_for_a_request_whose_response_is_over() {
        let format = LogFormat::Text(template(
            "$method $uri $status $body_bytes_sent $header_x_field",
        ));
        assert_eq!(logged(format, None, "/a?b", b"v"), "GET /a 201 12 v\n");
    }

    #[tokio::test]
    async fn an_access_log_escapes_what_would_forge_a_line() {
        let format = LogFormat::Text(template("\"$header_x_field\""));
        let logged = logged(format, None, "/", b"a\"b\\c\td\xff");
        assert_eq!(logged, "\"a\\x22b\\x5Cc\\x09d\\xFF\"\n");
    }

    #[tokio::test]
    async fn an_access_log_writes_json_strings() {
        let members = [("status", "$status"), ("field", "$header_x_field")];
        let members = members.map(|(name, value)| (name.to_owned(), template(value)));
        let logged = logged(LogFormat::Json(members.into()), None, "/", b"a\"b\t");
        assert_eq!(logged, "{\"status\":\"201\",\"field\":\"a\\\"b\\t\"}\n");
    }

    #[tokio::test]
    async fn an_access_log_leaves_out_requests_that_do_not_meet_its_condition() {
        let format = || LogFormat::Text(template("$uri"));
        assert_eq!(logged(format(), Some("$arg_a"), "/?a=1", b""), "/\n");
        assert_eq!(logged(format(), Some("$arg_a"), "/", b""), "");
    }
}

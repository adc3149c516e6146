//! Notes requests in a file.

use std::borrow::Cow;
use std::sync::Arc;

use engine::OutputFile;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use routing::{Condition, Template, Variable, VariableKind, Variables};

use crate::variables::wire_fields::{self, BodyLength};
use crate::variables::{RequestMeta, RequestSnapshot, ResponseMeta, VariableContext};

/// Which requests are noted, how and where.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct AccessLog(Arc<AccessLogParts>);

struct AccessLogParts {
    format: LogFormat,
    condition: Option<Condition>,
    file: OutputFile,
    notes_response_fields: bool,
    notes_request_time: bool,
}

/// How a line looks.
#[derive(Clone, Debug)]
pub enum LogFormat {
    /// As the template says, and a line feed. In values, what a terminal or a reader of the log
    /// [would act on](engine::needs_escape), quotation marks, backslashes, and what is not UTF-8 are escaped
    /// (`\x0A`); what has no value is `-`.
    Text(Template),
    /// A JSON object with these members, whose values are strings.
    Json(Vec<(String, Template)>),
}

impl AccessLog {
    /// Notes requests in `file`. They are noted when `condition` holds, once their response is over
    /// or their client has gone.
    ///
    /// Lines are gathered and written off the threads that serve, as the file has it. What comes faster
    /// than it is written, or cannot be, is lost, and the server's log tells how many lines were. To flush the file
    /// at the end of the server is left to the owner of its [`OutputFiles`](engine::OutputFiles).
    #[must_use]
    pub fn new(file: OutputFile, format: LogFormat, condition: Option<Condition>) -> Self {
        let mentions = |kind| {
            let condition = condition.as_ref();
            format.mentions(kind) || condition.is_some_and(|it| it.mentions(kind))
        };
        Self(Arc::new(AccessLogParts {
            notes_response_fields: mentions(VariableKind::ResponseHeader),
            notes_request_time: mentions(VariableKind::RequestTime),
            format,
            condition,
            file,
        }))
    }

    /// Whether it asks how long requests have taken.
    pub(crate) fn notes_request_time(&self) -> bool {
        self.0.notes_request_time
    }

    fn note(&self, context: &VariableContext<'_>) {
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

/// A request that is to be noted; it is when this is dropped.
pub(crate) struct AccessLogEntry {
    log: AccessLog,
    request: RequestSnapshot,
    meta: RequestMeta,
    response: Option<LoggedResponse>,
    /// Bytes of the response's body.
    pub(crate) sent: u64,
}

/// What is kept of a response's head.
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

    /// Has the response's head noted as well. Where its fields may be asked for, it gets a `Date`.
    fn respond<B: Body>(&mut self, response: &mut Response<B>) {
        let headers = if self.log.0.notes_response_fields {
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
            .ask(&self.meta, response, |context| log.note(context));
    }
}

/// Request metadata for routing and the access log.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a request, on the stack; a box would be an allocation for each that is routed"
)]
pub(crate) enum RequestRecord {
    /// Not needed.
    Nothing,
    /// Needed by routes only.
    Asked(RequestMeta),
    /// Needed by the access log, too.
    Noted(Box<AccessLogEntry>),
}

impl RequestRecord {
    pub(crate) fn meta(&self) -> Option<&RequestMeta> {
        match self {
            Self::Nothing => None,
            Self::Asked(meta) => Some(meta),
            Self::Noted(note) => Some(&note.meta),
        }
    }

    /// What is to be noted of the request once this response to it is over.
    pub(crate) fn note<B: Body>(self, response: &mut Response<B>) -> Option<Box<AccessLogEntry>> {
        match self {
            Self::Nothing | Self::Asked(_) => None,
            Self::Noted(mut note) => {
                note.respond(response);
                Some(note)
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

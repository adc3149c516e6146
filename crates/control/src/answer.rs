//! Answers: the one place that turns each outcome into a status and a body.

use std::path::PathBuf;

use bytes::Bytes;
use certificates::{BundleError, NameError, WriteError};
use config::{
    ConfigError, EditError, JsonError, Location, Object, Path, PathError, SubstitutionError, Value,
};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use thiserror::Error;

use crate::{HealthReport, METRICS_CONTENT_TYPE, PrepareError, RestartError, StateError};

const JSON: &str = "application/json";

/// `Retry-After` in seconds, for requests that were refused because of others.
const RETRY: &str = "1";

/// A request that succeeded.
pub(crate) enum Success {
    /// A GET: the text of the value.
    Value(String),
    /// The counters in Prometheus' text format.
    Metrics(String),
    /// A health check, which may have failed.
    Health(HealthReport),
    /// A change, with warnings about its parts.
    Changed {
        warnings: Vec<String>,
    },
    /// A restart.
    Restarted,
    /// A certificate that was stored.
    CertificateStored {
        warnings: Vec<String>,
    },
    CertificateDeleted,
}

/// A request that was refused or failed. Nothing has changed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("no such value")]
    NotFound,
    #[error("no such status")]
    NoStatus,
    #[error("invalid path: {0}")]
    Path(#[from] PathError),
    #[error("invalid method, expected one of {allowed}")]
    InvalidMethod { allowed: &'static str },
    #[error("method not allowed")]
    NotAllowed { allowed: &'static str },
    #[error("invalid JSON: {0}")]
    Json(#[from] JsonError),
    #[error("invalid configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("invalid configuration: {0}")]
    Bounds(EditError),
    #[error("invalid configuration: {0}")]
    Substitution(#[from] SubstitutionError),
    #[error("the configuration comes from {path:?}")]
    FromFiles { path: PathBuf },
    #[error("cannot apply the configuration: {0}")]
    Prepare(#[from] PrepareError),
    #[error("cannot store the configuration: {0}")]
    Store(#[from] StateError),
    #[error("cannot restart the application: {0}")]
    Restart(#[from] RestartError),
    #[error("no such certificate")]
    NoCertificate,
    #[error("no such value of a certificate")]
    NoFact,
    #[error("{}", .0.map_or_else(|| "not the name of a certificate".to_owned(), |error| error.to_string()))]
    CertificateName(Option<NameError>),
    #[error("invalid certificate bundle: {0}")]
    Certificate(BundleError),
    #[error("a certificate of this name exists")]
    CertificateExists,
    #[error("there is no certificate to replace")]
    NothingToReplace,
    #[error("the certificate is in use")]
    CertificateInUse,
    #[error("cannot store the certificate: {0}")]
    StoreCertificate(WriteError),
    #[error("cannot delete the certificate: {0}")]
    DeleteCertificate(WriteError),
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("cannot read the body: {0}")]
    Body(#[from] hyper::Error),
    #[error("limit of all request bodies together ({total} bytes) reached")]
    Busy { total: u32 },
    #[error("limit of proxied connections ({limit}) reached")]
    TooManyConnections { limit: usize },
    #[error("changes of operators take precedence")]
    TooManyChanges,
    #[error("the server is shutting down")]
    Stopping,
    #[error("a task panicked")]
    Panic,
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::NotFound => Self::NotFound,
            // POST is the one method that an existing value can refuse.
            EditError::NotAllowed => Self::NotAllowed {
                allowed: "GET, PUT, DELETE",
            },
            EditError::TooDeep | EditError::TooLarge => Self::Bounds(error),
        }
    }
}

/// The status and body of an error. Titles are Unit's where it has one, since clients match on them.
struct ErrorAnswer {
    status: StatusCode,
    title: &'static str,
    detail: Option<String>,
    location: Option<ErrorLocation>,
    suggestion: Option<&'static str>,
    /// The value of `Allow`, for a 405.
    allowed: Option<&'static str>,
    /// Whether to send `Retry-After`.
    retry: bool,
}

impl ErrorAnswer {
    fn new(status: StatusCode, title: &'static str) -> Self {
        Self {
            status,
            title,
            detail: None,
            location: None,
            suggestion: None,
            allowed: None,
            retry: false,
        }
    }

    fn not_allowed(title: &'static str, allowed: &'static str) -> Self {
        Self {
            allowed: Some(allowed),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, title)
        }
    }

    fn unavailable(title: &'static str) -> Self {
        Self {
            retry: true,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, title)
        }
    }

    fn detail(self, detail: &(impl ToString + ?Sized)) -> Self {
        Self {
            detail: Some(detail.to_string()),
            ..self
        }
    }

    fn location(self, location: ErrorLocation) -> Self {
        Self {
            location: Some(location),
            ..self
        }
    }

    /// With the location at the end of `detail`, so that all members are texts.
    fn with_texts_only(self) -> Self {
        let location = self.location.as_ref().and_then(ErrorLocation::to_text);
        let parts = [self.detail, location];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        Self {
            detail: (!parts.is_empty()).then(|| parts.join(" ")),
            location: None,
            ..self
        }
    }
}

/// Where an error is.
enum ErrorLocation {
    /// In the configuration.
    Pointer(Path),
    /// In the text of the request.
    Text(Location),
}

impl ErrorLocation {
    fn to_value(&self) -> Value {
        match self {
            Self::Pointer(path) => [("path", path.to_string().into())].into_iter().collect(),
            Self::Text(location) => offset(location),
        }
    }

    /// Nothing for the whole of the configuration.
    fn to_text(&self) -> Option<String> {
        match self {
            Self::Pointer(path) if path.is_root() => None,
            Self::Pointer(path) => Some(format!("(at {:?})", path.to_string())),
            Self::Text(location) => Some(format!("({location})")),
        }
    }
}

impl Failure {
    fn error_answer(&self) -> ErrorAnswer {
        const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
        const INTERNAL: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
        match self {
            Self::NotFound => ErrorAnswer::new(StatusCode::NOT_FOUND, "Value doesn't exist."),
            Self::NoStatus => ErrorAnswer::new(StatusCode::NOT_FOUND, "Invalid path."),
            Self::Path(error) => {
                ErrorAnswer::new(BAD_REQUEST, "Invalid path.").detail(&sentence(error))
            }
            Self::InvalidMethod { allowed } => ErrorAnswer::not_allowed("Invalid method.", allowed),
            Self::NotAllowed { allowed } => {
                ErrorAnswer::not_allowed("Method isn't allowed.", allowed)
            }
            Self::Json(error) => ErrorAnswer::new(BAD_REQUEST, "Invalid JSON.")
                .detail(&error.kind)
                .location(ErrorLocation::Text(error.location)),
            Self::Config(error) => ErrorAnswer {
                suggestion: error.suggestion,
                ..ErrorAnswer::new(BAD_REQUEST, "Invalid configuration.")
                    .detail(&error.detail)
                    .location(pointer(&error.path))
            },
            Self::Bounds(error) => {
                ErrorAnswer::new(BAD_REQUEST, "Invalid configuration.").detail(&sentence(error))
            }
            Self::Substitution(error) => ErrorAnswer::new(BAD_REQUEST, "Invalid configuration.")
                .detail(&error.detail)
                .location(pointer(&error.path)),
            Self::FromFiles { path } => {
                ErrorAnswer::new(StatusCode::CONFLICT, "Configuration comes from files.")
                    .detail(&format!("Change it in {path:?}; the server notices."))
            }
            Self::Prepare(error) => ErrorAnswer {
                location: error.path.as_ref().map(pointer),
                ..ErrorAnswer::new(INTERNAL, "Failed to apply new configuration.")
                    .detail(&error.detail)
            },
            Self::Store(error) => ErrorAnswer::new(INTERNAL, "Failed to store configuration.")
                .detail(&sentence(error)),
            Self::Restart(error) => {
                ErrorAnswer::new(INTERNAL, "Failed to restart app.").detail(&error.detail)
            }
            Self::NoCertificate => {
                ErrorAnswer::new(StatusCode::NOT_FOUND, "Certificate doesn't exist.")
            }
            Self::NoFact => ErrorAnswer::new(StatusCode::NOT_FOUND, "Invalid path."),
            Self::CertificateName(error) => ErrorAnswer {
                detail: error.as_ref().map(sentence),
                ..ErrorAnswer::new(BAD_REQUEST, "Invalid certificate name.")
            },
            Self::Certificate(error) => {
                ErrorAnswer::new(BAD_REQUEST, "Invalid certificate.").detail(&sentence(error))
            }
            Self::CertificateExists => ErrorAnswer::new(BAD_REQUEST, "Certificate already exists.")
                .detail("Send \"If-Match: *\" to replace it."),
            Self::NothingToReplace => ErrorAnswer::new(
                StatusCode::PRECONDITION_FAILED,
                "Certificate doesn't exist.",
            ),
            Self::CertificateInUse => {
                ErrorAnswer::new(BAD_REQUEST, "Certificate is used in the configuration.")
            }
            Self::StoreCertificate(error) => {
                ErrorAnswer::new(INTERNAL, "Failed to store certificate.").detail(&sentence(error))
            }
            Self::DeleteCertificate(error) => {
                ErrorAnswer::new(INTERNAL, "Failed to delete certificate.").detail(&sentence(error))
            }
            Self::TooLarge { limit } => {
                ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large.")
                    .detail(&format!("The limit is {limit} bytes."))
            }
            Self::BodyTimeout => {
                ErrorAnswer::new(StatusCode::REQUEST_TIMEOUT, "Request body timed out.")
            }
            Self::Body(error) => {
                ErrorAnswer::new(BAD_REQUEST, "Invalid request body.").detail(&sentence(error))
            }
            Self::Busy { total } => ErrorAnswer::unavailable("Too many request bodies.").detail(
                &format!("The limit of all request bodies together is {total} bytes."),
            ),
            Self::TooManyConnections { limit } => ErrorAnswer::unavailable("Too many connections.")
                .detail(&format!(
                    "The limit of connections through listeners of the server is {limit}."
                )),
            Self::TooManyChanges => ErrorAnswer::unavailable("Too many changes.").detail(
                "Changes that do not come through a listener of the server take precedence.",
            ),
            Self::Stopping => ErrorAnswer::unavailable("Server is stopping."),
            Self::Panic => ErrorAnswer::new(INTERNAL, "Internal error."),
        }
    }
}

pub(crate) type Outcome = Result<Success, Failure>;

/// How the name of `unitctl` begins as a client.
const UNITCTL: &[u8] = b"Unit CLI/";

/// Whether the client reads only errors whose members are all texts. `unitctl` would report that it cannot read the
/// answer, instead of the error.
pub(crate) fn reads_only_texts(headers: &HeaderMap) -> bool {
    let client = headers.get(USER_AGENT);
    client.is_some_and(|client| client.as_bytes().starts_with(UNITCTL))
}

pub(crate) fn response(outcome: Outcome) -> Response<Full<Bytes>> {
    rendered(outcome, Failure::error_answer)
}

/// All members of an error are texts.
pub(crate) fn response_of_texts(outcome: Outcome) -> Response<Full<Bytes>> {
    rendered(outcome, |failure| failure.error_answer().with_texts_only())
}

fn rendered(
    outcome: Outcome,
    error_answer: impl FnOnce(&Failure) -> ErrorAnswer,
) -> Response<Full<Bytes>> {
    let content_type = match outcome {
        Ok(Success::Metrics(_)) => METRICS_CONTENT_TYPE,
        Ok(_) | Err(_) => JSON,
    };
    let (status, allowed, retry, body) = match outcome {
        Ok(success) => (success.status(), None, false, success.into_text()),
        Err(failure) => {
            let error_answer = error_answer(&failure);
            let ErrorAnswer {
                status,
                allowed,
                retry,
                ..
            } = error_answer;
            (status, allowed, retry, text(&error_answer.into_value()))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(allowed) = allowed {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if retry {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY));
    }
    response
}

/// The bytes of an answer that is sent without parsing the request, and before the connection is closed.
pub(crate) fn raw(failure: &Failure) -> String {
    let error_answer = failure.error_answer();
    let status = error_answer.status;
    let body = text(&error_answer.into_value());
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\
         retry-after: {RETRY}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

impl Failure {
    /// Whether the fault is the server's rather than the request's.
    pub(crate) fn is_severe(&self) -> bool {
        let ErrorAnswer { status, retry, .. } = self.error_answer();
        status.is_server_error() && !retry
    }
}

impl Success {
    pub(crate) fn value(value: &Value) -> Self {
        Self::Value(text(value))
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Health(report) if !report.is_ok() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Value(_)
            | Self::Metrics(_)
            | Self::Health(_)
            | Self::Changed { .. }
            | Self::Restarted
            | Self::CertificateStored { .. }
            | Self::CertificateDeleted => StatusCode::OK,
        }
    }

    fn into_text(self) -> String {
        let done = |title: &str| {
            let mut object = Object::default();
            object.set("success", title.into());
            object
        };
        let with_warnings = |title, warnings: &[String]| {
            let mut object = done(title);
            if !warnings.is_empty() {
                let warnings = warnings.iter().map(|warning| warning.as_str().into());
                object.set("warnings", Value::Array(warnings.collect()));
            }
            object.into()
        };
        match self {
            Self::Value(text) | Self::Metrics(text) => text,
            Self::Health(report) => text(&report.to_value()),
            Self::Changed { warnings } => text(&with_warnings("Reconfiguration done.", &warnings)),
            Self::Restarted => text(&done("Ok").into()),
            Self::CertificateStored { warnings } => {
                text(&with_warnings("Certificate chain uploaded.", &warnings))
            }
            Self::CertificateDeleted => text(&done("Certificate deleted.").into()),
        }
    }
}

impl ErrorAnswer {
    fn into_value(self) -> Value {
        let mut object = Object::default();
        object.set("error", self.title.into());
        if let Some(detail) = self.detail {
            object.set("detail", detail.into());
        }
        if let Some(location) = self.location {
            object.set("location", location.to_value());
        }
        if let Some(suggestion) = self.suggestion {
            object.set("suggestion", suggestion.into());
        }
        object.into()
    }
}

/// With a line end, as in Unit, so that a shell's prompt is on its own line.
fn text(value: &Value) -> String {
    let mut text = config::print_pretty(value);
    text.push_str("\r\n");
    text
}

fn pointer(path: &Path) -> ErrorLocation {
    ErrorLocation::Pointer(path.clone())
}

fn offset(location: &Location) -> Value {
    let number = |number: usize| Value::from(u64::try_from(number).unwrap_or(u64::MAX));
    let mut object = Object::default();
    object.set("offset", number(location.offset));
    if let Some(position) = location.position {
        object.set("line", number(position.line));
        object.set("column", number(position.column));
    }
    object.into()
}

/// As a sentence, like Unit's details: errors of Rust code start in lower case and have no full stop.
fn sentence(message: &impl ToString) -> String {
    let message = message.to_string();
    let mut characters = message.chars();
    characters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), characters.as_str())
    })
}

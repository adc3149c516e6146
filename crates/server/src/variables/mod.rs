//! The values of a configuration's variables for one request. Their syntax is `routing`'s.

pub(crate) mod wire_fields;

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Instant;

use engine::RequestId;
use http::header::CONNECTION;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use http_message::has_token;
use jiff::Zoned;
use parking_lot::{Mutex, MutexGuard};
use routing::{Request, Target, Variable, Variables, response_header};

use crate::connection_info::ConnectionInfo;
use crate::request::server_name;
use crate::variables::wire_fields::{BodyLength, Framed};

/// Request metadata for routing and the access log.
pub(crate) struct RequestMeta {
    pub(crate) id: RequestId,
    /// As it was sent.
    uri: Uri,
    version: Version,
    begun: Instant,
    /// Asked for the first time, and the same from then on, as in Unit.
    request_time: OnceLock<String>,
    time_local: OnceLock<String>,
    /// The path that the last rewrite made.
    rewritten: Mutex<Option<Vec<u8>>>,
}

impl RequestMeta {
    /// Of a request as it came.
    pub(crate) fn new(id: RequestId, parts: &Parts, begun: Instant) -> Self {
        Self {
            id,
            uri: parts.uri.clone(),
            version: parts.version,
            begun,
            request_time: OnceLock::new(),
            time_local: OnceLock::new(),
            rewritten: Mutex::default(),
        }
    }

    /// The target as it was sent, without what its absolute form has in front.
    fn target(&self) -> &str {
        self.uri.path_and_query().map_or("", PathAndQuery::as_str)
    }

    /// Sets the request's path from here on.
    pub(crate) fn rewrite(&self, path: &[u8]) {
        *self.rewritten() = Some(path.to_owned());
    }

    fn rewritten(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.rewritten.lock()
    }

    /// The first line of the request. It is put together again, since the parser takes it apart.
    pub(crate) fn request_line(&self, method: &str) -> String {
        let Self { uri, version, .. } = self;
        match uri.authority() {
            // The form of HTTP/2, of which each request has an authority, is not the absolute one.
            Some(_) if *version == Version::HTTP_2 => {
                format!("{method} {} {version:?}", self.target())
            }
            _ => format!("{method} {uri} {version:?}"),
        }
    }
}

/// A copy of a request's head for variables that are expanded after the request has been handed to its handler.
pub(crate) struct RequestSnapshot {
    method: Method,
    headers: HeaderMap,
    info: ConnectionInfo,
}

impl RequestSnapshot {
    pub(crate) fn of(parts: &Parts, info: ConnectionInfo) -> Self {
        Self {
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            info,
        }
    }

    /// Expands variables of the request.
    pub(crate) fn with_context<T>(
        &self,
        meta: &RequestMeta,
        response: Option<ResponseMeta<'_>>,
        evaluate: impl FnOnce(&VariableContext<'_>) -> T,
    ) -> T {
        let raw = meta.target().as_bytes();
        let target = Target::parse(raw).unwrap_or_else(|_| Target::refused(raw));
        let target = match meta.rewritten().clone() {
            Some(path) => target.with_path(path.into()),
            None => target,
        };
        evaluate(&VariableContext {
            request: &Request {
                scheme: self.info.scheme,
                method: self.method.as_str(),
                host: &server_name(&self.headers),
                target: &target,
                headers: &self.headers,
                source: self.info.source,
                destination: self.info.destination,
            },
            meta,
            response,
        })
    }
}

/// A request and, once there is one, its response: where variables get their values.
pub(crate) struct VariableContext<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) meta: &'a RequestMeta,
    pub(crate) response: Option<ResponseMeta<'a>>,
}

/// Response metadata for variables.
#[derive(Clone, Copy)]
pub(crate) struct ResponseMeta<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// What its body says of its length.
    pub(crate) length: BodyLength,
    /// Bytes of its body, so far.
    pub(crate) sent: u64,
}

impl<'a> VariableContext<'a> {
    /// What decides about the framing of the response.
    fn framed(&self) -> Option<Framed<'a>> {
        let response = self.response?;
        Some(Framed {
            version: self.meta.version,
            is_head: self.request.method == Method::HEAD.as_str(),
            status: response.status,
            headers: response.headers,
            length: response.length,
        })
    }

    /// The `connection` that hyper adds where the response has none, as the client asked for it.
    fn connection(&self) -> Option<&'static [u8]> {
        let asks = |option: &str| has_token(self.request.headers, &CONNECTION, option);
        match self.meta.version {
            Version::HTTP_11 if asks("close") => Some(b"close"),
            Version::HTTP_10 if asks("keep-alive") => Some(b"keep-alive"),
            _ => None,
        }
    }
}

impl Variables for VariableContext<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, [u8]>> {
        let text = |text: String| Some(Cow::Owned(text.into_bytes()));
        let meta = self.meta;
        match variable {
            Variable::RequestId => text(meta.id.to_string()),
            Variable::RequestLine => text(meta.request_line(self.request.method)),
            Variable::RequestTime => {
                let time = meta.request_time.get_or_init(|| {
                    let time = meta.begun.elapsed();
                    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
                });
                Some(Cow::Borrowed(time.as_bytes()))
            }
            Variable::TimeLocal => {
                let time = meta.time_local.get_or_init(|| {
                    let now = Zoned::now();
                    now.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
                });
                Some(Cow::Borrowed(time.as_bytes()))
            }
            Variable::Status => text(self.response?.status.as_str().to_owned()),
            Variable::BodyBytesSent => text(self.response?.sent.to_string()),
            Variable::ResponseHeader(name) => {
                let framed = self.framed()?;
                match &**name {
                    "content_length" => return framed.content_length(),
                    "transfer_encoding" => return framed.transfer_encoding().map(Cow::Borrowed),
                    _ => {}
                }
                let value = response_header(framed.headers, name);
                let value = value.or_else(|| match &**name {
                    "connection" => self.connection(),
                    _ => None,
                });
                value.map(Cow::Borrowed)
            }
            // Unset without a host: `-` in an access log.
            Variable::Host if self.request.host.is_empty() => None,
            Variable::Argument(_)
            | Variable::Cookie(_)
            | Variable::Header(_)
            | Variable::Host
            | Variable::Method
            | Variable::RemoteAddr
            | Variable::RequestUri
            | Variable::Uri => self.request.value(variable),
        }
    }
}

//! What a configuration's variables are for one request.

pub(crate) mod wire_fields;

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use engine::RequestId;
use http::header::CONNECTION;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use http_message::has_token;
use jiff::Zoned;
use routing::{Request, Target, Variable, Variables, response_header};

use crate::connection_info::Ends;
use crate::request::server_name;
use crate::variables::wire_fields::{BodyLength, Framed};

/// What of a request no other type has.
pub(crate) struct Facts {
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

impl Facts {
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

    /// Has the request's path be another from here on.
    pub(crate) fn rewrite(&self, path: &[u8]) {
        *self.rewritten() = Some(path.to_owned());
    }

    fn rewritten(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.rewritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

/// What is kept of a request, for what is asked about it when it is in other hands.
pub(crate) struct Kept {
    method: Method,
    headers: HeaderMap,
    ends: Ends,
}

impl Kept {
    pub(crate) fn of(parts: &Parts, ends: Ends) -> Self {
        Self {
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            ends,
        }
    }

    /// Asks about the request.
    pub(crate) fn ask<T>(
        &self,
        facts: &Facts,
        response: Option<Responded<'_>>,
        question: impl FnOnce(&Known<'_>) -> T,
    ) -> T {
        let raw = facts.target().as_bytes();
        let target = Target::parse(raw).unwrap_or_else(|_| Target::refused(raw));
        let target = match facts.rewritten().clone() {
            Some(path) => target.with_path(path.into()),
            None => target,
        };
        question(&Known {
            request: &Request {
                scheme: self.ends.scheme,
                method: self.method.as_str(),
                host: &server_name(&self.headers),
                target: &target,
                headers: &self.headers,
                source: self.ends.source,
                destination: self.ends.destination,
            },
            facts,
            response,
        })
    }
}

/// A request, and the response to it as far as there is one.
pub(crate) struct Known<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) facts: &'a Facts,
    pub(crate) response: Option<Responded<'a>>,
}

/// What is known of a response.
#[derive(Clone, Copy)]
pub(crate) struct Responded<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// What its body says of its length.
    pub(crate) length: BodyLength,
    /// Bytes of its body, so far.
    pub(crate) sent: u64,
}

impl<'a> Known<'a> {
    /// What decides about the framing of the response.
    fn framed(&self) -> Option<Framed<'a>> {
        let response = self.response?;
        Some(Framed {
            version: self.facts.version,
            is_head: self.request.method == Method::HEAD.as_str(),
            status: response.status,
            headers: response.headers,
            length: response.length,
        })
    }

    /// The `connection` that hyper adds where the response has none, as the client asked for it.
    fn connection(&self) -> Option<&'static [u8]> {
        let asks = |option: &str| has_token(self.request.headers, &CONNECTION, option);
        match self.facts.version {
            Version::HTTP_11 if asks("close") => Some(b"close"),
            Version::HTTP_10 if asks("keep-alive") => Some(b"keep-alive"),
            _ => None,
        }
    }
}

impl Variables for Known<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, [u8]>> {
        let text = |text: String| Some(Cow::Owned(text.into_bytes()));
        let facts = self.facts;
        match variable {
            Variable::RequestId => text(facts.id.to_string()),
            Variable::RequestLine => text(facts.request_line(self.request.method)),
            Variable::RequestTime => {
                let time = facts.request_time.get_or_init(|| {
                    let time = facts.begun.elapsed();
                    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
                });
                Some(Cow::Borrowed(time.as_bytes()))
            }
            Variable::TimeLocal => {
                let time = facts.time_local.get_or_init(|| {
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
            // Without one there is none, for an access log.
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

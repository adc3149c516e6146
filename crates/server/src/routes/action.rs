//! The actions of route steps: `pass`, `return`, `share`, and `response_headers`.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, LOCATION, RETRY_AFTER, SERVER, VARY};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use routing::{Expanded, Rewrite, Template, VariableKind, Variables, encode_location};
use static_files::{ExpandedPath, NotServed, Paths};

use super::pass::Pass;
use crate::response::Content;
use crate::response::head::{self, WithoutServer};
use crate::response::page;
use crate::variables::wire_fields::BodyLength;
use crate::variables::{ResponseMeta, VariableContext};

/// The action of a route step.
pub struct Action {
    /// What the step does.
    pub kind: ActionKind,
    /// Replaces the request's path, before anything else is done.
    pub rewrite: Option<Rewrite>,
    /// What is set in, or removed from, a response with a status from 200 to 399.
    pub response_headers: Vec<ResponseHeader>,
}

/// The kinds of action.
pub enum ActionKind {
    /// Another route, an application, an upstream or the metrics answer.
    Pass(Pass),
    /// Return a fixed response.
    Return(Return),
    /// Serve a static file.
    Share(Share),
}

/// A response of nothing but a status, and perhaps a `location`.
pub struct Return {
    status: Option<StatusCode>,
    location: Option<Location>,
}

enum Location {
    Always(HeaderValue),
    Expanded(Template),
}

/// Static files.
pub struct Share {
    /// The first file that exists is served.
    pub paths: Vec<Template>,
    /// The directory that no served file is outside of.
    pub chroot: Option<Template>,
    /// MIME types, and how symlinks are followed.
    pub files: static_files::Share,
    /// The action if no file is there.
    pub fallback: Option<Box<Action>>,
}

/// A field of the response.
pub struct ResponseHeader {
    /// Its name.
    pub name: HeaderName,
    /// What it is set to; `None` removes it.
    pub value: Option<Template>,
}

impl Return {
    /// With a status from 400 to 599 the answer has Unit's page for it, and no `location`; with
    /// others, it has no content. HTTP has no final response with a status below 200: for such, the
    /// answer is 500.
    #[must_use]
    pub fn new(status: u16, location: Option<Template>) -> Self {
        let location = location.map(|template| {
            let always = template.constant().and_then(location_field);
            always.map_or(Location::Expanded(template), Location::Always)
        });
        Self {
            status: StatusCode::from_u16(status)
                .ok()
                .filter(|status| !status.is_informational()),
            location,
        }
    }

    fn mentions(&self, kind: VariableKind) -> bool {
        match &self.location {
            Some(Location::Expanded(template)) => template.mentions(kind),
            Some(Location::Always(_)) | None => false,
        }
    }

    pub(crate) fn respond<V: Variables>(&self, variables: &V) -> Response<Content> {
        let Some(status) = self.status else {
            return page::error(StatusCode::INTERNAL_SERVER_ERROR);
        };
        if (400..=599).contains(&status.as_u16()) {
            return page::error(status);
        }
        let mut response = Response::new(Content::page(Bytes::new()));
        *response.status_mut() = status;
        if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // hyper adds it for GET, but not for HEAD.
            let fields = response.headers_mut();
            fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let location = match &self.location {
            None => None,
            Some(Location::Always(value)) => Some(value.clone()),
            Some(Location::Expanded(template)) => location_field(&template.expand(variables)),
        };
        if let Some(location) = location {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

/// `encode_location` returns printable ASCII, so that this cannot fail.
fn location_field(location: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&encode_location(location)).ok()
}

impl Share {
    fn mentions(&self, kind: VariableKind) -> bool {
        let mut templates = self.paths.iter().chain(&self.chroot);
        let fallback = self.fallback.as_deref();
        templates.any(|it| it.mentions(kind)) || fallback.is_some_and(|it| it.mentions(kind))
    }

    /// The files to try. `None` where variables make nothing of `chroot`: without one, nothing would be
    /// confined.
    pub(crate) fn paths<V: Variables>(&self, variables: &V) -> Option<Paths> {
        let expanded = |template: &Template| {
            let mut path = ExpandedPath::new();
            template.visit(variables, |piece| {
                let begun = std::mem::take(&mut path);
                path = match piece {
                    Expanded::Literal(text) => begun.literal(text),
                    Expanded::Value(value) => begun.variable(value),
                };
            });
            path
        };
        let chroot = self.chroot.as_ref().map(expanded);
        if chroot
            .as_ref()
            .is_some_and(|chroot| chroot.as_bytes().is_empty())
        {
            tracing::error!("the \"chroot\" of a \"share\" expands to nothing; answering 403");
            return None;
        }
        Some(Paths {
            share: self.paths.iter().map(expanded).collect(),
            chroot: chroot.unwrap_or_default(),
        })
    }
}

/// The answer where there is no file, nor a fallback.
pub(crate) fn not_served(reason: &NotServed) -> Response<Content> {
    let mut response = page::error(reason.status());
    let field = match reason {
        NotServed::MethodNotAllowed => Some((ALLOW, NotServed::ALLOW)),
        NotServed::NotAcceptable => Some((VARY, "Accept-Encoding")),
        NotServed::TooManyOpen => Some((RETRY_AFTER, "1")),
        NotServed::Forbidden | NotServed::NotFound | NotServed::Failed(_) => None,
    };
    if let Some((name, value)) = field {
        let fields = response.headers_mut();
        fields.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Sets and removes fields of a response with a status from 200 to 399. `context` is the request, which only
/// variables need.
pub(crate) fn set_headers(
    headers: &[ResponseHeader],
    response: &mut Response<Content>,
    context: Option<&VariableContext<'_>>,
) {
    if headers.is_empty() || !(200..400).contains(&response.status().as_u16()) {
        return;
    }
    // All are expanded before the first is set, as in Unit.
    let values: Vec<_> = {
        let variables = context.map(|context| VariableContext {
            response: Some(ResponseMeta {
                status: response.status(),
                headers: response.headers(),
                length: BodyLength::of(response.body()),
                sent: 0,
            }),
            ..*context
        });
        let value = |header: &ResponseHeader| {
            let template = header.value.as_ref()?;
            let value = match &variables {
                Some(variables) => template.expand(variables),
                None => template.constant()?.into(),
            };
            Some(field(value))
        };
        headers.iter().map(value).collect()
    };
    for (header, value) in headers.iter().zip(values) {
        match value {
            Some(value) => {
                response.headers_mut().insert(&header.name, value);
                if header.name == CONNECTION {
                    response.body_mut().closes_connection = head::says_close(response);
                }
            }
            None => {
                response.headers_mut().remove(&header.name);
                if header.name == SERVER {
                    // It is set after this.
                    response.extensions_mut().insert(WithoutServer);
                }
            }
        }
    }
}

/// The value of a field. A client's text may contain control characters; each becomes a space (RFC 9110, section 5.5):
/// dropping the field instead would let the author of a link remove a security policy.
fn field(value: Cow<'_, [u8]>) -> HeaderValue {
    HeaderValue::from_bytes(&value).unwrap_or_else(|_| {
        let mut value = value.into_owned();
        for byte in &mut value {
            if byte.is_ascii_control() && *byte != b'\t' {
                *byte = b' ';
            }
        }
        // Nothing is left that could be refused.
        HeaderValue::from_bytes(&value).unwrap_or_else(|_| HeaderValue::from_static(""))
    })
}

impl Action {
    /// Whether a variable of this kind is in it.
    pub(crate) fn mentions(&self, kind: VariableKind) -> bool {
        let mut values = (self.response_headers.iter()).filter_map(|it| it.value.as_ref());
        let is_in_kind = match &self.kind {
            ActionKind::Pass(pass) => pass.mentions(kind),
            ActionKind::Return(answer) => answer.mentions(kind),
            ActionKind::Share(share) => share.mentions(kind),
        };
        is_in_kind
            || values.any(|it| it.mentions(kind))
            || self.rewrite.as_ref().is_some_and(|it| it.mentions(kind))
    }

    /// Whether what is set in its responses depends on the request or the response.
    pub(crate) fn has_variable_headers(&self) -> bool {
        let mut values = self
            .response_headers
            .iter()
            .filter_map(|it| it.value.as_ref());
        values.any(|value| value.constant().is_none())
    }
}

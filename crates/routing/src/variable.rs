//! The variables of Unit's templates: their names, and which of them have a value at which time.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

/// A variable in a [`Template`](crate::Template). `$dollar` is missing, since templates replace it when they
/// are parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$arg_NAME`: the value of the rightmost argument with this name, decoded.
    Argument(Box<str>),
    /// `$body_bytes_sent`: the bytes of the response's body that were sent.
    BodyBytesSent,
    /// `$cookie_NAME`: the value of the first cookie with this name.
    Cookie(Box<str>),
    /// `$header_NAME`: the value of the request's first field with this name, without regard to case. An
    /// underscore in the variable is a hyphen in the field's name.
    Header(HeaderName),
    /// `$host`: the host in lower case, without port and without a trailing dot.
    Host,
    /// `$method`: as the client sent it.
    Method,
    /// `$remote_addr`: the client's address without its port; `unix:` for a Unix domain socket.
    RemoteAddr,
    /// `$request_id`: 32 random hexadecimal digits, the same for all of a request.
    RequestId,
    /// `$request_line`: method, target and version as they were sent.
    RequestLine,
    /// `$request_time`: the time since the request began, in seconds with three decimals.
    RequestTime,
    /// `$request_uri`: the target as the client sent it. Unit's documentation says that it is normalised
    /// and that a rewrite changes it; neither is true of Unit's code, nor here.
    RequestUri,
    /// `$response_header_NAME`: the value of the response's first field with this name, found by
    /// [`response_header`]. The name is in lower case, and has underscores.
    ResponseHeader(Box<str>),
    /// `$status`: the response's status code.
    Status,
    /// `$time_local`: as in `31/Dec/1986:19:40:00 +0300`.
    TimeLocal,
    /// `$uri`: the path, decoded and normalised, after any rewrite.
    Uri,
}

/// The kind of a [`Variable`], without its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are those of `Variable`")]
pub enum VariableKind {
    Argument,
    BodyBytesSent,
    Cookie,
    Header,
    Host,
    Method,
    RemoteAddr,
    RequestId,
    RequestLine,
    RequestTime,
    RequestUri,
    ResponseHeader,
    Status,
    TimeLocal,
    Uri,
}

/// The variables that a template may contain.
///
/// Unit accepts all of them everywhere; those of the response are empty until there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableSet(u16);

/// The source of variables' values.
///
/// Each expansion of a template calls this once for each of its variables, from left to right. Values may
/// change between expansions, as `$uri` does with a rewrite; but `$request_id`, `$request_time` and
/// `$time_local` have to stay the same for a request, as in Unit.
pub trait Variables {
    /// The value of a variable. `None` if it does not exist (no such header field, no response yet), which
    /// is empty in a template and `-` in the access log.
    fn value(&self, variable: &Variable) -> Option<Cow<'_, [u8]>>;
}

/// The value of `$response_header_NAME`: the first field whose name, with underscores for hyphens, is
/// `name`, which is in lower case.
pub fn response_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let same = |field: &HeaderName| {
        let hyphens = |byte| if byte == b'-' { b'_' } else { byte };
        // `HeaderName` is in lower case.
        field.as_str().bytes().map(hyphens).eq(name.bytes())
    };
    let found = headers.iter().find(|(field, _)| same(field));
    found.map(|(_, value)| value.as_bytes())
}

impl Variable {
    /// The variable with this name, which the template has checked to be letters and underscores. `None` if
    /// it is unknown.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let rest = |prefix| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        Some(match name {
            "body_bytes_sent" => Self::BodyBytesSent,
            "host" => Self::Host,
            "method" => Self::Method,
            "remote_addr" => Self::RemoteAddr,
            "request_id" => Self::RequestId,
            "request_line" => Self::RequestLine,
            "request_time" => Self::RequestTime,
            "request_uri" => Self::RequestUri,
            "status" => Self::Status,
            "time_local" => Self::TimeLocal,
            "uri" => Self::Uri,
            _ => {
                if let Some(name) = rest("arg_") {
                    Self::Argument(name.into())
                } else if let Some(name) = rest("cookie_") {
                    Self::Cookie(name.into())
                } else if let Some(name) = rest("response_header_") {
                    Self::ResponseHeader(name.to_ascii_lowercase().into())
                } else {
                    let name = rest("header_")?.replace('_', "-");
                    Self::Header(HeaderName::from_bytes(name.as_bytes()).ok()?)
                }
            }
        })
    }

    /// The kind, for a [`VariableSet`].
    pub fn kind(&self) -> VariableKind {
        match self {
            Self::Argument(_) => VariableKind::Argument,
            Self::BodyBytesSent => VariableKind::BodyBytesSent,
            Self::Cookie(_) => VariableKind::Cookie,
            Self::Header(_) => VariableKind::Header,
            Self::Host => VariableKind::Host,
            Self::Method => VariableKind::Method,
            Self::RemoteAddr => VariableKind::RemoteAddr,
            Self::RequestId => VariableKind::RequestId,
            Self::RequestLine => VariableKind::RequestLine,
            Self::RequestTime => VariableKind::RequestTime,
            Self::RequestUri => VariableKind::RequestUri,
            Self::ResponseHeader(_) => VariableKind::ResponseHeader,
            Self::Status => VariableKind::Status,
            Self::TimeLocal => VariableKind::TimeLocal,
            Self::Uri => VariableKind::Uri,
        }
    }
}

impl VariableSet {
    /// All variables: for the access log.
    pub const ALL: Self = Self(u16::MAX);

    /// Variables of the response.
    pub const RESPONSE: Self = Self::of(&[
        VariableKind::BodyBytesSent,
        VariableKind::ResponseHeader,
        VariableKind::Status,
    ]);

    /// Variables of the request, which have values while it is routed.
    pub const REQUEST: Self = Self(!Self::RESPONSE.0);

    /// A set of these kinds.
    pub const fn of(kinds: &[VariableKind]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < kinds.len() {
            set |= 1 << kinds[at] as u16;
            at += 1;
        }
        Self(set)
    }

    /// Whether the set contains this kind.
    pub const fn contains(self, kind: VariableKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}

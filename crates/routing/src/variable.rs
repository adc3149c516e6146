use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

/// A variable in a [`Template`](crate::Template). `$dollar` is none here: a template has read it as a
/// `$` already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$arg_NAME`: the value of the rightmost argument with this name, decoded.
    Argument(Box<str>),
    /// `$body_bytes_sent`: how many bytes of the response's body were sent.
    BodyBytesSent,
    /// `$cookie_NAME`: the value of the first cookie with this name.
    Cookie(Box<str>),
    /// `$header_NAME`: the value of the request's first field with this name. Case does not count,
    /// and an underscore in the variable is a hyphen in the field's name.
    Header(HeaderName),
    /// `$host`: the host in lower case, without port and without a dot at the end.
    Host,
    /// `$method`: as it was sent.
    Method,
    /// `$remote_addr`: the client's address without its port; `unix:` for a Unix domain socket.
    RemoteAddr,
    /// `$request_id`: 32 hexadecimal digits at random, the same ones all through a request.
    RequestId,
    /// `$request_line`: method, target and version as they were sent.
    RequestLine,
    /// `$request_time`: the time since the request began, in seconds with three decimals.
    RequestTime,
    /// `$request_uri`: the target as it was sent. The documentation says that it is normalised, and
    /// that a rewrite changes it; in Unit's code neither is so, nor here.
    RequestUri,
    /// `$response_header_NAME`: the value of the response's first field with this name, found by
    /// [`response_header`]. The name is in lower case, and has underscores.
    ResponseHeader(Box<str>),
    /// `$status`: the response's, in three digits.
    Status,
    /// `$time_local`: as in `31/Dec/1986:19:40:00 +0300`.
    TimeLocal,
    /// `$uri`: the path, decoded and normalised, or what a rewrite made of it.
    Uri,
}

/// A kind of variable: those with a name of their own are one kind each.
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

/// Which variables a template may have.
///
/// Unit takes all of them everywhere; those of the response are then empty where there is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableSet(u16);

/// Who knows the variables' values.
///
/// A template asks for each of its variables once, from left to right, each time it is expanded. So
/// the answers may change between expansions, as `$uri` does after a rewrite; but `$request_id`,
/// `$request_time` and `$time_local` are to be the same for all of a request, as in Unit.
pub trait Variables {
    /// The value of a variable, or `None` when there is no such thing: no such header field, no
    /// response yet. That is empty in a template, and `-` in an access log.
    fn value(&self, variable: &Variable) -> Option<Cow<'_, [u8]>>;
}

/// The first field of a response that `$response_header_NAME` means, `name` being that of
/// [`Variable::ResponseHeader`]: case does not count, and a hyphen is an underscore.
pub fn response_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let same = |field: &HeaderName| {
        let hyphens = |byte| if byte == b'-' { b'_' } else { byte };
        // A field's name is in lower case here.
        field.as_str().bytes().map(hyphens).eq(name.bytes())
    };
    let found = headers.iter().find(|(field, _)| same(field));
    found.map(|(_, value)| value.as_bytes())
}

impl Variable {
    /// The variable with this name, or `None` when there is none. A name has letters and underscores
    /// only: the template sees to that.
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

    /// What kind of variable this is.
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
    /// All variables: for the access log, and wherever else Unit is followed to the letter.
    pub const ALL: Self = Self(u16::MAX);

    /// What is known only once there is a response: its status, its fields, its body's length.
    pub const RESPONSE: Self = Self::of(&[
        VariableKind::BodyBytesSent,
        VariableKind::ResponseHeader,
        VariableKind::Status,
    ]);

    /// What is known while a request is routed: all but those of the response.
    pub const REQUEST: Self = Self(!Self::RESPONSE.0);

    /// These kinds.
    pub const fn of(kinds: &[VariableKind]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < kinds.len() {
            set |= 1 << kinds[at] as u16;
            at += 1;
        }
        Self(set)
    }

    /// Whether this kind is among them.
    pub const fn contains(self, kind: VariableKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}

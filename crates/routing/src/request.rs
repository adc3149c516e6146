//! The parts of a request that routing compares.

use std::borrow::Cow;

use http::HeaderMap;

use crate::arguments::{arguments, cookies};
use crate::variable::{Variable, Variables};
use crate::{Endpoint, Target};

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS, or if a trusted proxy says so.
    Https,
}

/// The borrowed parts of a request.
///
/// As [`Variables`] it has those of the target, method, host, source, arguments, cookies and header fields.
/// The others are `None`, and a wrapper can add them.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// From the connection, or from a trusted proxy.
    pub scheme: Scheme,
    /// The method as it was sent.
    pub method: &'a str,
    /// The host in lower case, without port and without a trailing dot; empty if the request has no host.
    pub host: &'a str,
    /// The target, after any rewrites.
    pub target: &'a Target<'a>,
    /// The fields, `host` and `cookie` included.
    pub headers: &'a HeaderMap,
    /// The client: the peer, or the address that a trusted proxy names.
    pub source: Endpoint,
    /// The server's address that the client connected to.
    pub destination: Endpoint,
}

impl Scheme {
    /// Parses `http` or `https`, without regard to case. Wildcards and negation are not possible.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("http") => Some(Self::Http),
            _ if text.eq_ignore_ascii_case("https") => Some(Self::Https),
            _ => None,
        }
    }
}

impl Variables for Request<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, [u8]>> {
        match variable {
            Variable::Argument(name) => {
                let mut found = arguments(self.target.query()).rev();
                let argument = found.find(|argument| argument.is(name.as_bytes()))?;
                Some(argument.value())
            }
            Variable::Cookie(name) => {
                let mut found = cookies(self.headers, name.as_bytes());
                found.next().map(Cow::Borrowed)
            }
            Variable::Header(name) => {
                let value = self.headers.get(name)?;
                Some(Cow::Borrowed(value.as_bytes()))
            }
            Variable::Host => Some(Cow::Borrowed(self.host.as_bytes())),
            Variable::Method => Some(Cow::Borrowed(self.method.as_bytes())),
            Variable::RemoteAddr => Some(match self.source.address() {
                Cow::Borrowed(address) => Cow::Borrowed(address.as_bytes()),
                Cow::Owned(address) => Cow::Owned(address.into_bytes()),
            }),
            Variable::RequestUri => Some(Cow::Borrowed(self.target.raw())),
            Variable::Uri => Some(Cow::Borrowed(self.target.path())),
            Variable::BodyBytesSent
            | Variable::RequestId
            | Variable::RequestLine
            | Variable::RequestTime
            | Variable::ResponseHeader(_)
            | Variable::Status
            | Variable::TimeLocal => None,
        }
    }
}

use std::borrow::Cow;

use http::HeaderMap;

use crate::arguments::{arguments, cookies};
use crate::variable::{Variable, Variables};
use crate::{Endpoint, Target};

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS, or as a trusted proxy said.
    Https,
}

/// What routing looks at, all of it borrowed.
///
/// It answers for the [`Variables`] that it knows: the target's, method, host, source, arguments,
/// cookies and header fields. Others are `None`, and left to whoever wraps it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How it came.
    pub scheme: Scheme,
    /// The method as it was sent.
    pub method: &'a str,
    /// The host as Unit has it: in lower case, without port and without a dot at the end; empty if
    /// there is none.
    pub host: &'a str,
    /// The target, after whatever has been rewritten.
    pub target: &'a Target<'a>,
    /// The fields, `host` and `cookie` included.
    pub headers: &'a HeaderMap,
    /// Where it came from: the client, or the one that a trusted proxy named.
    pub source: Endpoint,
    /// Which of the server's addresses it came to.
    pub destination: Endpoint,
}

impl Scheme {
    /// Reads a pattern for schemes, which is `http` or `https` in either case, and nothing else: no
    /// wildcard, no negation. `None` for other texts.
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

//! The destination of a request, parsed strictly from its URI.

use std::fmt;

use http::Uri;

use crate::authority::{self, AuthorityError};
use untrusted_text::excerpt;

use crate::{Host, HostError};

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`; the default port is 80.
    Http,
    /// `https`; the default port is 443.
    Https,
}

impl Scheme {
    /// The port of a URI without one: 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// The destination of a request: scheme, host and port, normalised.
///
/// Send the request to [`authority`](Self::authority) and not to that of the URI, so that what was checked and what is
/// connected to cannot differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// Why a URI is not a valid destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Neither `http` nor `https`, or no scheme at all.
    #[error("the scheme {0:?} is neither http nor https")]
    Scheme(String),
    /// There is a name or a password in front of the host. The message does not repeat them.
    #[error("user info is not accepted in a URI")]
    UserInfo,
    /// A port that is not a number from 1 to 65535 without leading zeros.
    #[error("the port of \"{0}\" is not a number from 1 to 65535")]
    Port(String),
    /// An invalid host, or an ambiguous spelling of one.
    #[error("\"{authority}\" is not a valid host: {reason}")]
    Host {
        /// The host, and the port if there is one.
        authority: String,
        /// What is wrong with it.
        reason: HostError,
    },
}

impl Destination {
    /// Where a request with this URI would go to.
    ///
    /// # Errors
    ///
    /// When the URI is one of those that are [refused](crate#what-is-refused) whatever the grants.
    pub fn of(uri: &Uri) -> Result<Self, DestinationError> {
        let scheme = uri.scheme_str().unwrap_or_default();
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return Err(DestinationError::Scheme(scheme.chars().take(40).collect())),
        };
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        let fail = |error| match error {
            AuthorityError::UserInfo => DestinationError::UserInfo,
            AuthorityError::Port => DestinationError::Port(excerpt(authority)),
        };
        let (host, port) = authority::split(authority).map_err(fail)?;
        let host = Host::parse(host).map_err(|reason| DestinationError::Host {
            authority: excerpt(authority),
            reason,
        })?;
        let port = match port {
            Some(port) => authority::port(port).map_err(fail)?,
            None => scheme.default_port(),
        };
        Ok(Self { scheme, host, port })
    }

    /// The scheme of the request.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, normalised.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port; the scheme's default if the URI has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as they stand in a URI or a `host` field: without the scheme's own port.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// As a URI without a path.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

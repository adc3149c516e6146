//! Grants: their grammar, and what they match. `policy` adds the rule for special addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::authority::{self, AuthorityError};
use untrusted_text::excerpt;

use crate::{Destination, Host, HostError, Scheme};

/// One allowed destination, or pattern of destinations. See the [grammar](crate#the-grammar-of-a-grant).
///
/// Its `Display` is the normalised form, which parses back to an equal value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// `*`
    Everything,
    Some {
        scheme: Scheme,
        host: HostPattern,
        port: Option<u16>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    /// `*`
    Any,
    /// `*.` in front of this name.
    Below(String),
    Exactly(Host),
}

/// A text that is not a grant, and what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid grant \"{value}\": {kind}")]
pub struct GrantError {
    /// The text, escaped, and cut off after 100 characters.
    pub value: String,
    /// What is wrong with it.
    pub kind: GrantErrorKind,
}

/// What is wrong with a grant. The message says what would be valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantErrorKind {
    /// No scheme, or another one.
    #[error(
        "it must be \"*\" or start with \"http://\" or \"https://\", as \
         \"https://api.example.com\" does"
    )]
    Scheme,
    /// A path (even `/`), a query or a fragment.
    #[error("it must end after the host or the port, as \"https://api.example.com\" does")]
    Path,
    /// A name or a password in front of the host.
    #[error("it must be without user info, as \"https://api.example.com\" is")]
    UserInfo,
    /// An invalid port.
    #[error("a port is \"*\" or a number from 1 to 65535, as in \"http://*.internal:8080\"")]
    Port,
    /// A `*` that is neither the host nor its first label.
    #[error("a wildcard is the whole host or its whole first label, as in \"http://*.internal\"")]
    Wildcard,
    /// `*.` in front of an address.
    #[error("a wildcard stands in front of a name, not of an address")]
    WildcardAddress,
    /// A name outside of ASCII that IDNA has no ASCII form for.
    #[error("the host is not a valid international name; a name in ASCII would be accepted")]
    International,
    /// An invalid host.
    #[error("{0}")]
    Host(#[from] HostError),
    /// Longer than 1,000 bytes.
    #[error("it must have at most 1000 bytes")]
    TooLong,
}

impl Grant {
    /// Reads one entry.
    ///
    /// # Errors
    ///
    /// If `text` is not a grant.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        Self::read(text).map_err(|kind| GrantError {
            value: excerpt(text),
            kind,
        })
    }

    fn read(text: &str) -> Result<Self, GrantErrorKind> {
        if text == "*" {
            return Ok(Self(Kind::Everything));
        }
        if text.len() > 1000 {
            return Err(GrantErrorKind::TooLong);
        }
        let (scheme, authority) = text.split_once("://").ok_or(GrantErrorKind::Scheme)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return Err(GrantErrorKind::Scheme),
        };
        // Some URL parsers treat a backslash as a slash.
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(GrantErrorKind::Path);
        }
        let (host, port) = authority::split(authority).map_err(|error| match error {
            AuthorityError::UserInfo => GrantErrorKind::UserInfo,
            AuthorityError::Port => GrantErrorKind::Port,
        })?;
        let port = match port {
            None => Some(scheme.default_port()),
            Some("*") => None,
            Some(port) => Some(authority::port(port).map_err(|_| GrantErrorKind::Port)?),
        };
        let host = HostPattern::read(host)?;
        Ok(Self(Kind::Some { scheme, host, port }))
    }

    /// Whether scheme, host and port match. Special addresses are not considered.
    pub(crate) fn matches(&self, destination: &Destination) -> bool {
        match &self.0 {
            Kind::Everything => true,
            Kind::Some { scheme, host, port } => {
                *scheme == destination.scheme()
                    && port.is_none_or(|port| port == destination.port())
                    && host.matches(destination.host())
            }
        }
    }

    /// Whether this matches, and without a wildcard for the host.
    pub(crate) fn names(&self, destination: &Destination) -> bool {
        let exact = matches!(
            &self.0,
            Kind::Some {
                host: HostPattern::Exactly(_),
                ..
            }
        );
        exact && self.matches(destination)
    }

    /// The address that this names, if it names one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match &self.0 {
            Kind::Some {
                host: HostPattern::Exactly(Host::Address(address)),
                ..
            } => Some(*address),
            Kind::Some { .. } | Kind::Everything => None,
        }
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        Self::parse(text)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match &self.0 {
            Kind::Everything => return f.write_str("*"),
            Kind::Some { scheme, host, port } => (scheme, host, port),
        };
        write!(f, "{scheme}://")?;
        match host {
            HostPattern::Any => f.write_str("*")?,
            HostPattern::Below(name) => write!(f, "*.{name}")?,
            HostPattern::Exactly(host) => write!(f, "{host}")?,
        }
        match port {
            None => f.write_str(":*"),
            Some(port) if *port == scheme.default_port() => Ok(()),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

impl HostPattern {
    fn read(text: &str) -> Result<Self, GrantErrorKind> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (wildcard, host) = match text.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, text),
        };
        if host.contains('*') {
            return Err(GrantErrorKind::Wildcard);
        }
        match (wildcard, Host::parse(&ascii(host)?)?) {
            (false, host) => Ok(Self::Exactly(host)),
            // One label has to fit in front: "a." is two more bytes.
            (true, Host::Name(name)) if name.len() > 251 => Err(HostError::NameLength.into()),
            (true, Host::Name(name)) => Ok(Self::Below(name)),
            (true, Host::Address(_)) => Err(GrantErrorKind::WildcardAddress),
        }
    }

    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Below(suffix), Host::Name(name)) => name
                .strip_suffix(suffix.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty()),
            (Self::Below(_), Host::Address(_)) => false,
            (Self::Exactly(granted), host) => granted == host,
        }
    }
}

/// The name in ASCII. Requests' URIs are ASCII anyway, and grants are written by people.
fn ascii(host: &str) -> Result<String, GrantErrorKind> {
    if host.is_ascii() {
        return Ok(host.to_owned());
    }
    idna::domain_to_ascii(host).map_err(|_| GrantErrorKind::International)
}

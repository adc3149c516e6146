//! Hosts of grants and destinations, parsed strictly: a spelling that resolvers read in several ways is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address;

/// A host, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name: ASCII, in lower case, without a trailing dot, and not read as an address by any resolver.
    Name(String),
    /// An address. An IPv4 address that was embedded in an IPv6 address is an IPv4 address here.
    Address(IpAddr),
}

/// Why a text is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The text is empty.
    #[error("there is no host")]
    Empty,
    /// Some resolvers read it as an IPv4 address, but it is not four decimal numbers.
    #[error("an IPv4 address must be four decimal numbers from 0 to 255, as in 10.0.0.1")]
    Ipv4,
    /// Brackets without an IPv6 address in them.
    #[error("an IPv6 address must be written in brackets, as in [fd00::1]")]
    Ipv6,
    /// An IPv6 address with a zone, such as `[fe80::1%eth0]`.
    #[error("an IPv6 address must not have a zone")]
    Zone,
    /// Percent-encoding.
    #[error("a host must not be percent-encoded")]
    PercentEncoded,
    /// A character that is not allowed in names.
    #[error("{0:?} is not allowed in a host name")]
    Character(char),
    /// Two dots in a row, or one in front.
    #[error("a label must not be empty (two dots in a row, or a leading dot)")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("a label must have at most 63 bytes")]
    LabelLength,
    /// A name of more than 253 bytes.
    #[error("a name must have at most 253 bytes")]
    NameLength,
    /// A hyphen at one end of a label.
    #[error("a label must not start or end with a hyphen")]
    Hyphen,
    /// A label that is not valid Punycode, or not normalised.
    #[error("a label that starts with \"xn--\" must be valid Punycode")]
    Punycode,
}

impl Host {
    /// Parses the text between the slashes and the port.
    pub(crate) fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(HostError::Ipv6)?;
            if inner.contains('%') {
                return Err(HostError::Zone);
            }
            let v6: Ipv6Addr = inner.parse().map_err(|_| HostError::Ipv6)?;
            return Ok(Self::Address(address::effective(IpAddr::V6(v6))));
        }
        if text.contains('%') {
            return Err(HostError::PercentEncoded);
        }
        if text.contains(':') {
            return Err(HostError::Ipv6);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let last = name.rsplit('.').next().unwrap_or(name);
        if is_number(last) {
            // Resolvers read all of `127.1`, `0177.0.0.1`, `0x7f000001` and `2130706433` as
            // 127.0.0.1. Rust's parser accepts only the spelling that all read alike.
            let v4: Ipv4Addr = text.parse().map_err(|_| HostError::Ipv4)?;
            return Ok(Self::Address(IpAddr::V4(v4)));
        }
        if name.len() > 253 {
            return Err(HostError::NameLength);
        }
        for label in name.split('.') {
            if label.is_empty() {
                return Err(HostError::EmptyLabel);
            }
            if label.len() > 63 {
                return Err(HostError::LabelLength);
            }
            // RFC 952 has no underscore, but many names of containers do.
            let wrong = |char: &char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_');
            if let Some(char) = label.chars().find(wrong) {
                return Err(HostError::Character(char));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(HostError::Hyphen);
            }
        }
        let name = name.to_ascii_lowercase();
        let punycode = name.split('.').any(|label| label.starts_with("xn--"));
        if punycode && !idna::domain_to_ascii(&name).is_ok_and(|ascii| ascii == name) {
            return Err(HostError::Punycode);
        }
        Ok(Self::Name(name))
    }

    /// Whether this is a name that stands for loopback (RFC 6761, 6.3).
    pub(crate) fn is_localhost(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(_) => false,
        }
    }
}

/// As it stands in a URI, with the brackets of an IPv6 address.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// Whether a name that ends in this label is taken for an IPv4 address (as WHATWG's URL standard
/// has it: digits, or `0x` and hexadecimal digits).
fn is_number(label: &str) -> bool {
    let all = |text: &str, digit: fn(&u8) -> bool| text.as_bytes().iter().all(digit);
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"))
        .is_some_and(|digits| all(digits, u8::is_ascii_hexdigit));
    hexadecimal || (!label.is_empty() && all(label, u8::is_ascii_digit))
}

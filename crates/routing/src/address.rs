//! Endpoints of connections, and patterns of their addresses (`source`, `destination`).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use untrusted_text::excerpt;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and a port.
    Ip(SocketAddr),
    /// Any Unix domain socket.
    Unix,
}

impl Endpoint {
    /// The address without its port, in Unit's spelling.
    pub(crate) fn address(&self) -> Cow<'static, str> {
        match self {
            Self::Ip(socket) => match socket.ip() {
                IpAddr::V4(address) => address.to_string().into(),
                IpAddr::V6(address) => v6_text(address).into(),
            },
            Self::Unix => "unix:".into(),
        }
    }
}

/// Unit's spelling of an IPv6 address. Unlike RFC 5952, it has `::` for a single zero, too, and writes the end
/// of `::a.b.c.d` as an IPv4 address.
fn v6_text(address: Ipv6Addr) -> String {
    let groups = address.segments();
    // The first of the longest runs of zeros.
    let (mut start, mut length, mut at) = (0, 0, 0);
    for run in groups.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
        if run[0] == 0 && run.len() > length {
            (start, length) = (at, run.len());
        }
        at += run.len();
    }
    let hexadecimal = |groups: &[u16]| {
        let texts: Vec<_> = groups.iter().map(|group| format!("{group:x}")).collect();
        texts.join(":")
    };
    if length == 0 {
        return hexadecimal(&groups);
    }
    let [.., high, low] = address.octets();
    let v4 = Ipv4Addr::from_bits((u32::from(groups[6]) << 16) | u32::from(groups[7]));
    match (start, length) {
        (0, 5) if groups[5] == 0xffff => format!("::ffff:{v4}"),
        (0, 6) => format!("::{v4}"),
        (0, 7) if high != 0 && low != 1 => format!("::{v4}"),
        _ => {
            let (before, after) = (&groups[..start], &groups[start + length..]);
            format!("{}::{}", hexadecimal(before), hexadecimal(after))
        }
    }
}

/// One pattern or an array of them, for a source or a destination.
///
/// An endpoint matches if it matches none of the negated ones, and at least one of the others, if there are
/// others. As in Unit, and unlike [`Patterns`](crate::Patterns), an empty array matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPatterns {
    negative: Vec<AddressPattern>,
    positive: Vec<AddressPattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AddressPattern {
    Unix,
    Ip {
        addresses: Addresses,
        ports: RangeInclusive<u16>,
    },
}

/// Single addresses, networks and ranges, all of them as ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Addresses {
    All,
    V4(RangeInclusive<u32>),
    V6(RangeInclusive<u128>),
}

/// Why a text is refused as a pattern of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a valid address pattern: {kind}")]
pub struct AddressPatternError {
    /// An [`excerpt`] of the text.
    pub value: String,
    /// The reason.
    pub kind: AddressPatternErrorKind,
}

/// The reason why a pattern of addresses is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressPatternErrorKind {
    /// Fewer than two characters.
    #[error("it is too short; an address is like \"192.0.2.1\", \"2001:db8::1\" or \"*:80\"")]
    TooShort,
    /// An invalid IPv4 address.
    #[error("an IPv4 address is four decimal numbers from 0 to 255, as in \"192.0.2.1\"")]
    Ipv4,
    /// An invalid IPv6 address.
    #[error("an IPv6 address is like \"2001:db8::1\", without a zone")]
    Ipv6,
    /// Brackets without a port.
    #[error("brackets need an IPv6 address and a port, as in \"[2001:db8::1]:80\"")]
    Brackets,
    /// An invalid length of a network's prefix.
    #[error("the prefix of a network is a number from 0 to {0}")]
    Prefix(u8),
    /// A range of addresses that ends before it begins.
    #[error("the range of addresses ends before it begins")]
    Range,
    /// An invalid port, or a range of ports that ends before it begins.
    #[error("a port is a number from 0 to 65535, or a range of them, as in \"8080-8090\"")]
    Port,
}

impl AddressPatterns {
    /// An empty array.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one pattern. The [grammar](crate#addresses) is at the head of the crate.
    ///
    /// # Errors
    ///
    /// If `text` is not a valid pattern. Then nothing is added.
    pub fn push(&mut self, text: &str) -> Result<(), AddressPatternError> {
        let (list, pattern) = match text.strip_prefix('!') {
            Some(pattern) => (&mut self.negative, pattern),
            None => (&mut self.positive, text),
        };
        let pattern = AddressPattern::parse(pattern).map_err(|kind| AddressPatternError {
            value: excerpt(text),
            kind,
        })?;
        list.push(pattern);
        Ok(())
    }

    /// Whether an endpoint matches.
    pub fn matches(&self, endpoint: Endpoint) -> bool {
        let one_of = |list: &[AddressPattern]| list.iter().any(|pattern| pattern.matches(endpoint));
        if self.positive.is_empty() {
            !self.negative.is_empty() && !one_of(&self.negative)
        } else {
            !one_of(&self.negative) && one_of(&self.positive)
        }
    }
}

impl AddressPattern {
    fn parse(text: &str) -> Result<Self, AddressPatternErrorKind> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if text.len() < 2 {
            return Err(AddressPatternErrorKind::TooShort);
        }
        let (addresses, port) = if let Some(port) = text.strip_prefix("*:") {
            (Addresses::All, Some(port))
        } else if let Some(rest) = text.strip_prefix('[') {
            let parts = rest.rsplit_once("]:");
            let (addresses, port) = parts.ok_or(AddressPatternErrorKind::Brackets)?;
            (Addresses::v6(addresses)?, Some(port))
        } else if text.matches(':').count() > 1 {
            (Addresses::v6(text)?, None)
        } else if let Some((addresses, port)) = text.split_once(':') {
            (Addresses::v4(addresses)?, Some(port))
        } else {
            (Addresses::v4(text)?, None)
        };
        let ports = match port {
            None => 0..=u16::MAX,
            Some(port) => ports(port).ok_or(AddressPatternErrorKind::Port)?,
        };
        Ok(Self::Ip { addresses, ports })
    }

    fn matches(&self, endpoint: Endpoint) -> bool {
        match (self, endpoint) {
            (Self::Unix, Endpoint::Unix) => true,
            (Self::Ip { addresses, ports }, Endpoint::Ip(socket)) => {
                ports.contains(&socket.port()) && addresses.contain(socket.ip())
            }
            _ => false,
        }
    }
}

impl Addresses {
    /// Stricter than Unit, which accepts `1..2.3`, `010.0.0.1` and `300.0.0.0/8`, each as an unexpected
    /// address.
    fn v4(text: &str) -> Result<Self, AddressPatternErrorKind> {
        let address = |text: &str| match text.parse::<Ipv4Addr>() {
            Ok(address) => Ok(address.to_bits()),
            Err(_) => Err(AddressPatternErrorKind::Ipv4),
        };
        Ok(Self::V4(match parts(text) {
            Parts::One => address(text)?..=address(text)?,
            Parts::Range(first, last) => in_order(address(first)?, address(last)?)?,
            Parts::Network(base, prefix) => {
                let host = u32::MAX.checked_shr(bits(prefix, 32)?).unwrap_or(0);
                let base = address(base)?;
                base & !host..=base | host
            }
        }))
    }

    fn v6(text: &str) -> Result<Self, AddressPatternErrorKind> {
        let address = |text: &str| match text.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_bits()),
            Err(_) => Err(AddressPatternErrorKind::Ipv6),
        };
        Ok(Self::V6(match parts(text) {
            Parts::One => address(text)?..=address(text)?,
            Parts::Range(first, last) => in_order(address(first)?, address(last)?)?,
            Parts::Network(base, prefix) => {
                let host = u128::MAX.checked_shr(bits(prefix, 128)?).unwrap_or(0);
                let base = address(base)?;
                base & !host..=base | host
            }
        }))
    }

    fn contain(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::V4(range), IpAddr::V4(v4)) => range.contains(&v4.to_bits()),
            (Self::V6(range), IpAddr::V6(v6)) => range.contains(&v6.to_bits()),
            // Unit's sockets never show an IPv4 client as a mapped address. If one appears nevertheless,
            // rules for its IPv4 address must not be evaded.
            (Self::V4(range), IpAddr::V6(v6)) => v6
                .to_ipv4_mapped()
                .is_some_and(|v4| range.contains(&v4.to_bits())),
            (Self::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

enum Parts<'a> {
    One,
    Range(&'a str, &'a str),
    Network(&'a str, &'a str),
}

fn parts(text: &str) -> Parts<'_> {
    if let Some((first, last)) = text.split_once('-') {
        Parts::Range(first, last)
    } else if let Some((base, prefix)) = text.split_once('/') {
        Parts::Network(base, prefix)
    } else {
        Parts::One
    }
}

fn in_order<T: PartialOrd>(
    first: T,
    last: T,
) -> Result<RangeInclusive<T>, AddressPatternErrorKind> {
    if first > last {
        return Err(AddressPatternErrorKind::Range);
    }
    Ok(first..=last)
}

fn bits(prefix: &str, most: u8) -> Result<u32, AddressPatternErrorKind> {
    match number(prefix) {
        Some(bits) if bits <= u16::from(most) => Ok(bits.into()),
        _ => Err(AddressPatternErrorKind::Prefix(most)),
    }
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    in_order(number(first)?, number(last)?).ok()
}

/// A number of digits only; Rust's own parser accepts a sign.
pub(crate) fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

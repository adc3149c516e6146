//! The client's address and scheme behind trusted proxies (`forwarded`, `client_ip`).

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

use http::{HeaderMap, HeaderName};

use crate::address::number;
use crate::{AddressPatterns, Endpoint, Scheme};

/// Which proxies are trusted, and in which fields they name the client. The
/// [rules](crate#clients-behind-proxies) are at the head of the crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The addresses of trusted proxies.
    pub source: AddressPatterns,
    /// The field with the client's address, if any.
    pub client_ip: Option<HeaderName>,
    /// The field with the scheme, if any.
    pub protocol: Option<HeaderName>,
    /// Whether trusted addresses in `client_ip` are skipped, too.
    pub recursive: bool,
}

impl Forwarded {
    /// The client and the scheme of a request whose peer is `source` and whose connection has `scheme`.
    pub fn apply(
        &self,
        source: Endpoint,
        scheme: Scheme,
        headers: &HeaderMap,
    ) -> (Endpoint, Scheme) {
        if !self.source.matches(source) {
            return (source, scheme);
        }
        let client = self.client_ip.as_ref();
        let protocol = self.protocol.as_ref();
        (
            client.map_or(source, |name| self.client(source, headers, name)),
            protocol.map_or(scheme, |name| {
                forwarded_scheme(headers, name).unwrap_or(scheme)
            }),
        )
    }

    fn client(&self, peer: Endpoint, headers: &HeaderMap, name: &HeaderName) -> Endpoint {
        let values = headers.get_all(name).iter().rev();
        let mut found = peer;
        for item in values.flat_map(|value| items(value.as_bytes())) {
            let Some(address) = address(item) else {
                break;
            };
            found = Endpoint::Ip(address);
            if !self.recursive || !self.source.matches(found) {
                break;
            }
        }
        found
    }
}

/// The scheme in the first field that is not empty; `None` if it is not a known one.
fn forwarded_scheme(headers: &HeaderMap, name: &HeaderName) -> Option<Scheme> {
    let mut values = headers.get_all(name).iter();
    let value = values.find(|value| !value.is_empty())?;
    let is = |text: &str| value.as_bytes().eq_ignore_ascii_case(text.as_bytes());
    if is("http") {
        Some(Scheme::Http)
    } else if is("https") || is("on") {
        Some(Scheme::Https)
    } else {
        None
    }
}

/// The items of a value, from right to left.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_separator = |byte: &u8| matches!(byte, b' ' | b',');
    let mut rest = value;
    iter::from_fn(move || {
        // As in Unit, the first byte belongs to an item even if it is a separator.
        while let [before @ .., last] = rest
            && !before.is_empty()
            && is_separator(last)
        {
            rest = before;
        }
        let separator = rest.iter().skip(1).rposition(is_separator);
        let (before, item) = match separator {
            Some(index) => (&rest[..=index], &rest[index + 2..]),
            None => (&[][..], rest),
        };
        rest = before;
        (!item.is_empty()).then_some(item)
    })
}

/// A client's address, with or without a port. As strict as patterns, and stricter than Unit.
fn address(item: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(item).ok()?;
    let v4 = |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    let v6 = |text: &str| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once("]:")?;
        (v6(address)?, Some(port))
    } else if text.matches(':').count() > 1 {
        (v6(text)?, None)
    } else if let Some((address, port)) = text.split_once(':') {
        (v4(address)?, Some(port))
    } else {
        (v4(text)?, None)
    };
    let is_client = !address.is_unspecified() && address != IpAddr::V4(Ipv4Addr::BROADCAST);
    let port = match port {
        None => 0,
        Some(port) => number(port).filter(|&port| port > 0)?,
    };
    is_client.then_some(SocketAddr::new(address, port))
}

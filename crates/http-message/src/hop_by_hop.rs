//! Hop-by-hop fields: they are for one connection, and so neither forwarded nor given to a guest (RFC 9110,
//! section 7.6.1).

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

use crate::token_list::tokens;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The most names in `connection` that count. Each of them is compared with each field of the message, and a sender
/// that names more only has more of its own fields delivered.
const MAX_NAMED: usize = 32;

/// Whether a field is hop-by-hop in each message.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ]
    .contains(name)
}

/// The hop-by-hop fields of one message: those of each, and the first 32 that its `connection` names.
#[derive(Debug)]
pub struct HopByHop {
    /// Empty, and not allocated, for nearly all messages.
    named: Vec<HeaderName>,
}

impl HopByHop {
    /// Those of a message with these fields.
    pub fn of(fields: &HeaderMap) -> Self {
        let is_usual = |token: &&[u8]| {
            ["close", "keep-alive", "upgrade", ""]
                .iter()
                .any(|usual| token.eq_ignore_ascii_case(usual.as_bytes()))
        };
        let named = fields
            .get_all(CONNECTION)
            .iter()
            .flat_map(tokens)
            .filter(|token| !is_usual(token))
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            // A client must not choose that the next reader sees another host, or another end of the body.
            .filter(|name| ![HOST, CONTENT_LENGTH].contains(name))
            .take(MAX_NAMED);
        Self {
            named: named.collect(),
        }
    }

    /// Whether a field is one of them.
    pub fn contains(&self, name: &HeaderName) -> bool {
        is_hop_by_hop(name) || self.named.contains(name)
    }
}

/// The end-to-end fields that are wanted, in their order.
pub fn without_hop_by_hop(fields: HeaderMap, is_wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let hop_by_hop = HopByHop::of(&fields);
    retain(fields, |name| !hop_by_hop.contains(name) && is_wanted(name))
}

/// The fields that are wanted, in their order, which [`HeaderMap::remove`] would change.
pub fn retain(mut fields: HeaderMap, is_wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    if fields.keys().all(&is_wanted) {
        return fields;
    }
    // Callers add up to two fields.
    let mut retained = HeaderMap::with_capacity(fields.len() + 2);
    let mut name = None;
    for (next, value) in fields.drain() {
        // Only the first value of a name comes with it.
        name = next.or(name);
        if let Some(name) = name.as_ref().filter(|name| is_wanted(name)) {
            retained.append(name, value);
        }
    }
    retained
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_are_dropped_in_order() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("b", "1"),
            ("connection", "close, X-Hop, host,, \"bad\""),
            ("host", "x"),
            ("a", "2"),
            ("x-hop", "5"),
            ("transfer-encoding", "chunked"),
            ("connection", "keep-alive, x-second, Content-Length"),
            ("content-length", "7"),
            ("c", "3"),
            ("x-second", "6"),
            ("a", "4"),
            ("unwanted", "8"),
        ] {
            fields.append(name, HeaderValue::from_static(value));
        }
        let kept = without_hop_by_hop(fields, |name| name != "unwanted");
        let kept: Vec<_> = kept
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected = [
            ("b", "1"),
            ("host", "x"),
            ("a", "2"),
            ("a", "4"),
            ("content-length", "7"),
            ("c", "3"),
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn only_the_first_names_in_connection_count() {
        let names: Vec<_> = (0..10_000).map(|number| format!("x-{number}")).collect();
        let mut fields = HeaderMap::new();
        fields.insert(CONNECTION, names.join(", ").parse().unwrap());
        for name in [&names[MAX_NAMED - 1], &names[MAX_NAMED]] {
            fields.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("1"),
            );
        }
        let hop_by_hop = HopByHop::of(&fields);
        assert_eq!(hop_by_hop.named.len(), MAX_NAMED);
        let kept = without_hop_by_hop(fields, |_| true);
        assert_eq!(
            kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            [&names[MAX_NAMED]]
        );
    }
}

//! The fields of a message that belong to one connection, and to nobody else.

use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The fields that are not one connection's (RFC 9110, section 7.6.1, and what it has grown from), and
/// that are wanted, in their order. Which those are, `connection` has a say in, but not about `host`.
pub fn forwarded(fields: &HeaderMap, is_wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let named = named_in_connection(fields);
    let mut forwarded = HeaderMap::with_capacity(fields.len() + 2);
    for (name, value) in fields {
        // To name `host` is no reason to be without: the next server would serve another.
        let is_named = *name != HOST && named.contains(name);
        if !is_hop_by_hop(name) && !is_named && is_wanted(name) {
            forwarded.append(name, value.clone());
        }
    }
    forwarded
}

/// Whether a field that is a list has this among its entries, in upper or lower case.
pub fn has_token(fields: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    fields
        .get_all(name)
        .iter()
        .flat_map(tokens)
        .any(|it| it.eq_ignore_ascii_case(token.as_bytes()))
}

pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
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

fn named_in_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let is_usual = |token: &&[u8]| {
        ["close", "keep-alive", "upgrade", ""]
            .iter()
            .any(|usual| token.eq_ignore_ascii_case(usual.as_bytes()))
    };
    fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter(|token| !is_usual(token))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect()
}

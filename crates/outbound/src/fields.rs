//! The fields of a message that belong to one connection, and to nobody else.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::Error;

/// Makes a request's fields fit to be sent. `host` is left out: it is set from the URI.
///
/// Returns the body's length if `content-length` announces it.
pub(crate) fn prepare(fields: &mut HeaderMap) -> Result<Option<u64>, Error> {
    if fields.contains_key(UPGRADE) {
        return Err(Error::Upgrade);
    }
    let trailers = fields
        .get_all(TE)
        .iter()
        .any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case("trailers")));
    let length = content_length(fields)?;
    strip_hop_by_hop(fields);
    fields.remove(HOST);
    // There is nobody to wait: a body that is refused is cut off.
    fields.remove(EXPECT);
    // RFC 9110, 10.1.4: of `te` only this passes on, and it means the message's last reader.
    if trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    // It may have been repeated, or named in `connection`.
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

/// Removes what RFC 9110, 7.6.1 has a forwarder remove, and its ancestors.
pub(crate) fn strip_hop_by_hop(fields: &mut HeaderMap) {
    let mut remove: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter_map(|token| token.parse().ok())
        .collect();
    let proxy = |name: &&HeaderName| name.as_str().starts_with("proxy-");
    remove.extend(fields.keys().filter(proxy).cloned());
    remove.extend([CONNECTION, TE, TRANSFER_ENCODING, UPGRADE]);
    remove.extend(["keep-alive", "http2-settings"].map(HeaderName::from_static));
    for name in remove {
        fields.remove(name);
    }
}

/// The bytes that the fields take in HTTP/1.
pub(crate) fn size(fields: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + ": ".len() + value.len() + "\r\n".len()
    };
    fields.iter().map(line).sum()
}

fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Error> {
    let mut length = None;
    for value in fields.get_all(CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| Error::ContentLength)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::ContentLength);
        }
        let number = text.parse().map_err(|_| Error::ContentLength)?;
        if length.is_some_and(|length| length != number) {
            return Err(Error::ContentLength);
        }
        length = Some(number);
    }
    Ok(length)
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(fields: &[(&'static str, &str)]) -> (Result<Option<u64>, Error>, Vec<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        let length = prepare(&mut map);
        let left = map
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        (length, left.collect())
    }

    #[test]
    fn what_belongs_to_a_connection_is_left_out() {
        let (length, left) = prepared(&[
            ("host", "other.example"),
            ("connection", "close, X-Private"),
            ("connection", "content-length"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "a"),
            ("proxy-anything", "b"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, Trailers"),
            ("expect", "100-continue"),
            ("http2-settings", "a"),
            ("content-length", "5"),
            ("content-length", "5"),
            ("x-kept", "1"),
        ]);
        assert!(matches!(length, Ok(Some(5))));
        let mut left = left;
        left.sort();
        assert_eq!(left, ["content-length: 5", "te: trailers", "x-kept: 1"]);
    }

    #[test]
    fn an_upgrade_is_refused() {
        let (length, _) = prepared(&[("upgrade", "websocket")]);
        assert!(matches!(length, Err(Error::Upgrade)));
    }

    #[test]
    fn a_length_is_one_number() {
        for value in ["", "+5", "-5", "5,5", "5 5", "0x5", "99999999999999999999"] {
            let (length, _) = prepared(&[("content-length", value)]);
            assert!(matches!(length, Err(Error::ContentLength)), "{value}");
        }
        let (length, _) = prepared(&[("content-length", "5"), ("content-length", "6")]);
        assert!(matches!(length, Err(Error::ContentLength)));
    }
}

//! The fields of outgoing requests and their responses. The hop-by-hop rule itself is `http_message`'s.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE,
};
use http_message::{content_length, has_token, without_hop_by_hop};

use crate::Error;

/// Prepares a request's fields. `host` is dropped: it is set from the URI.
///
/// Returns the body's length if `content-length` announces it.
pub(crate) fn prepare(fields: &mut HeaderMap) -> Result<Option<u64>, Error> {
    if fields.contains_key(UPGRADE) {
        return Err(Error::Upgrade);
    }
    let wants_trailers = has_token(fields, &TE, "trailers");
    let length = content_length(fields).map_err(|_| Error::ContentLength)?;
    // `expect` is not supported: a body that the server refuses is cut off.
    let mut prepared = without_hop_by_hop(std::mem::take(fields), |name| {
        ![HOST, EXPECT, CONTENT_LENGTH].contains(name) && !is_for_proxies(name)
    });
    // RFC 9110, section 10.1.4: this is the one entry of `te` that is forwarded.
    if wants_trailers {
        prepared.insert(TE, HeaderValue::from_static("trailers"));
        // HTTP/1 requires `connection` to name it. For HTTP/2, which is chosen later, hyper drops `connection` and the
        // fields that its first value names: so `te` is in the second one.
        prepared.append(CONNECTION, HeaderValue::from_static("keep-alive"));
        prepared.append(CONNECTION, HeaderValue::from_static("te"));
    }
    // Once, even if it was repeated.
    if let Some(length) = length {
        prepared.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *fields = prepared;
    Ok(length)
}

/// Drops the hop-by-hop fields of a response.
pub(crate) fn prepare_response(fields: &mut HeaderMap) {
    *fields = without_hop_by_hop(std::mem::take(fields), |name| !is_for_proxies(name));
}

fn is_for_proxies(name: &HeaderName) -> bool {
    name.as_str().starts_with("proxy-")
}

/// The bytes of the fields in HTTP/1.
pub(crate) fn size(fields: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + ": ".len() + value.len() + "\r\n".len()
    };
    fields.iter().map(line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(fields: &[(&'static str, &str)]) -> (Result<Option<u64>, Error>, Vec<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let length = prepare(&mut map);
        let left = map
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        (length, left.collect())
    }

    #[test]
    fn hop_by_hop_fields_are_dropped() {
        let (length, left) = prepared(&[
            ("x-first", "1"),
            ("host", "other.example"),
            ("connection", "close, X-Private, \u{e4}"),
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
        let expected = [
            "x-first: 1",
            "x-kept: 1",
            "te: trailers",
            "connection: keep-alive",
            "connection: te",
            "content-length: 5",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn an_upgrade_is_refused() {
        let (length, _) = prepared(&[("upgrade", "websocket")]);
        assert!(matches!(length, Err(Error::Upgrade)));
    }

    #[test]
    fn a_length_is_one_number() {
        for value in ["", "+5", "-5", "5,6", "5 5", "0x5", "99999999999999999999"] {
            let (length, _) = prepared(&[("content-length", value)]);
            assert!(matches!(length, Err(Error::ContentLength)), "{value}");
        }
        let (length, _) = prepared(&[("content-length", "5"), ("content-length", "6")]);
        assert!(matches!(length, Err(Error::ContentLength)));
    }
}

//! Adapts the head of a guest's response to the protocol of Unit.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

/// The most bytes of a field name: Unit's protocol has 8 bits for its length.
pub(crate) const MAX_NAME: usize = u8::MAX as usize;

/// The first field name of more than [`MAX_NAME`] bytes.
pub(crate) fn oversized(fields: &HeaderMap) -> Option<&str> {
    let mut names = fields.keys().map(http::HeaderName::as_str);
    names.find(|name| name.len() > MAX_NAME)
}

/// Removes the field `status`: Unit would not send it, but take the response's status from it, as in CGI.
pub(crate) fn remove_reserved(fields: &mut HeaderMap) {
    fields.remove("status");
}

/// Adds a `content-length` if the length is known, the guest has not set one, and one is allowed (RFC
/// 9110, section 8.6). Without it, Unit would send the body in chunks.
pub(crate) fn announce(
    fields: &mut HeaderMap,
    status: StatusCode,
    method: &Method,
    length: Option<u64>,
) {
    let may = *method != Method::HEAD
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED;
    if let Some(length) = length.filter(|_| may && !fields.contains_key(CONTENT_LENGTH)) {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_for(status: u16, method: &Method, own: Option<&'static str>) -> Option<HeaderValue> {
        let own = own.map(|own| (CONTENT_LENGTH, HeaderValue::from_static(own)));
        let mut fields: HeaderMap = own.into_iter().collect();
        let status = StatusCode::from_u16(status).unwrap();
        announce(&mut fields, status, method, Some(0));
        fields.remove(CONTENT_LENGTH)
    }

    #[test]
    fn a_content_length_is_added_where_it_is_allowed() {
        assert_eq!(length_for(200, &Method::GET, None).unwrap(), "0");
        assert_eq!(length_for(200, &Method::GET, Some("7")).unwrap(), "7");
        assert_eq!(length_for(200, &Method::HEAD, None), None);
        assert_eq!(length_for(200, &Method::HEAD, Some("7")).unwrap(), "7");
        assert_eq!(length_for(204, &Method::GET, None), None);
        assert_eq!(length_for(304, &Method::GET, None), None);
    }

    #[test]
    fn the_field_status_cannot_change_the_status() {
        let mut fields = HeaderMap::new();
        for (name, value) in [("a", "1"), ("status", "304"), ("status", "x"), ("b", "2")] {
            fields.append(name, HeaderValue::from_static(value));
        }
        remove_reserved(&mut fields);
        assert_eq!(
            fields
                .keys()
                .map(http::HeaderName::as_str)
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn a_field_name_that_is_too_long_for_unit_is_found() {
        let mut fields = HeaderMap::new();
        let longest = "a".repeat(255);
        fields.insert(
            http::HeaderName::try_from(&longest).unwrap(),
            HeaderValue::from(1),
        );
        assert_eq!(oversized(&fields), None);
        let long = "b".repeat(256);
        fields.insert(
            http::HeaderName::try_from(&long).unwrap(),
            HeaderValue::from(1),
        );
        assert_eq!(oversized(&fields), Some(&*long));
    }
}

//! Fields whose value is a list of tokens. Entries with quoted commas are not supported: no field that is read here has
//! any.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Whether one of the fields with this name has `token` among its entries, in upper or lower case.
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

//! The length that a request announces for its body.

use http::Method;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};

/// The length that a request announces for its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is no body, and no field about its length.
    None,
    /// Announced by `content-length`.
    Exactly(u64),
    /// The body is sent in chunks.
    Unknown,
}

impl Length {
    /// For a request without a body: `content-length: 0` if requests with this method usually have one (RFC 9110,
    /// section 8.6; some servers answer 411 without it), and no field otherwise.
    pub fn of_no_body(method: &Method) -> Self {
        if [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            Self::Exactly(0)
        } else {
            Self::None
        }
    }

    /// Replaces the fields of a request that are about its length.
    pub fn write(self, fields: &mut HeaderMap) {
        fields.remove(CONTENT_LENGTH);
        fields.remove(TRANSFER_ENCODING);
        match self {
            Self::None => {}
            Self::Exactly(length) => {
                fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Self::Unknown => {
                fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }
}

//! How long a message's body is told to be.

use http::Method;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};

/// How long a request's body is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is none, and nothing is told.
    None,
    /// So many bytes, in `content-length`.
    Exactly(u64),
    /// It is sent in chunks.
    Unknown,
}

impl Length {
    /// What is told of no body: `content-length: 0` for a method that usually has one (RFC 9110, section
    /// 8.6: servers answer 411 without), and nothing for all others.
    pub fn of_no_body(method: &Method) -> Self {
        if [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            Self::Exactly(0)
        } else {
            Self::None
        }
    }

    /// Writes it into a request's fields, in the place of what they said before.
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

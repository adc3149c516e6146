//! The fields that hyper adds to the heads of responses, which variables are asked about. How a message
//! is framed is hyper's to decide; this repeats its rules, and the tests hold both side by side.

use std::borrow::Cow;
use std::time::SystemTime;

use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body;

/// How long a body says to be before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// Without a body.
    Empty,
    VariableContext(u64),
    Unknown,
}

impl BodyLength {
    pub(crate) fn of(body: &impl Body) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            body.size_hint()
                .exact()
                .map_or(Self::Unknown, Self::VariableContext)
        }
    }
}

/// What of a response, and of the request for it, decides about its framing.
#[derive(Clone, Copy)]
pub(crate) struct Framed<'a> {
    pub(crate) version: Version,
    pub(crate) is_head: bool,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) length: BodyLength,
}

impl<'a> Framed<'a> {
    /// `Content-Length` as it is sent.
    pub(crate) fn content_length(&self) -> Option<Cow<'a, [u8]>> {
        let set = self.headers.get(CONTENT_LENGTH);
        let is_sent = self.length != BodyLength::Empty || self.is_head || self.is_http2();
        if let Some(value) = set.filter(|_| is_sent) {
            return Some(Cow::Borrowed(value.as_bytes()));
        }
        let length = match self.length {
            BodyLength::VariableContext(length) if self.is_http2() => length,
            BodyLength::Empty if self.is_http2() => return None,
            BodyLength::Unknown => return None,
            BodyLength::VariableContext(_) | BodyLength::Empty if !self.may_have_content() => {
                return None;
            }
            BodyLength::Empty | BodyLength::VariableContext(0) if self.is_head => return None,
            BodyLength::Empty => 0,
            BodyLength::VariableContext(length) => length,
        };
        Some(Cow::Owned(length.to_string().into_bytes()))
    }

    /// `Transfer-Encoding` as it is sent.
    pub(crate) fn transfer_encoding(&self) -> Option<&'static [u8]> {
        let is_chunked = self.version == Version::HTTP_11
            && self.length == BodyLength::Unknown
            && !self.headers.contains_key(CONTENT_LENGTH)
            && !self.is_head
            && self.may_have_content();
        is_chunked.then_some(b"chunked")
    }

    fn is_http2(&self) -> bool {
        self.version >= Version::HTTP_2
    }

    fn may_have_content(&self) -> bool {
        let without = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        !self.status.is_informational() && !without.contains(&self.status)
    }
}

/// Sets `Date` if it is missing, so that it is known before hyper would add it.
pub(crate) fn set_date(headers: &mut HeaderMap) {
    headers.entry(DATE).or_insert_with(|| {
        let date = httpdate::fmt_http_date(SystemTime::now());
        // It is ASCII.
        HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static(""))
    });
}

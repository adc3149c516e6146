//! The fields that hyper adds to response heads, for the variables that show them. hyper decides how a message is
//! framed; this repeats its rules, and tests compare both.

use std::borrow::Cow;
use std::time::SystemTime;

use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body;

/// The length of a body, if it is known before the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is no body.
    Empty,
    Known(u64),
    Unknown,
}

impl BodyLength {
    pub(crate) fn of(body: &impl Body) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            body.size_hint().exact().map_or(Self::Unknown, Self::Known)
        }
    }
}

/// The parts of a response, and of its request, that decide its framing.
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
            BodyLength::Known(length) if self.is_http2() => length,
            BodyLength::Empty if self.is_http2() => return None,
            BodyLength::Unknown => return None,
            BodyLength::Known(_) | BodyLength::Empty if !self.may_have_content() => {
                return None;
            }
            BodyLength::Empty | BodyLength::Known(0) if self.is_head => return None,
            BodyLength::Empty => 0,
            BodyLength::Known(length) => length,
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

//! Several ranges in one response: `multipart/byteranges` (RFC 9110, section 14.6).

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;
use http::header::InvalidHeaderValue;

use crate::body::Part;

/// A boundary that the file does not contain: 128 random bits, which the file's author cannot predict.
pub(crate) fn boundary() -> String {
    let random = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", random(), random())
}

pub(crate) fn content_type(boundary: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"))
}

/// `bytes first-last/size`
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// The whole content. None of `ranges` is empty.
pub(crate) fn parts(
    ranges: &[Range<u64>],
    size: u64,
    content_type: Option<&HeaderValue>,
    boundary: &str,
) -> VecDeque<Part> {
    let mut parts = VecDeque::with_capacity(2 * ranges.len() + 1);
    for range in ranges {
        let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
        if let Some(content_type) = content_type {
            head.extend_from_slice(b"Content-Type: ");
            head.extend_from_slice(content_type.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let range_field = content_range(range, size);
        head.extend_from_slice(format!("Content-Range: {range_field}\r\n\r\n").as_bytes());
        parts.push_back(Part::Text(Bytes::from(head)));
        parts.push_back(Part::File {
            at: range.start,
            length: range.end - range.start,
        });
    }
    let end = format!("\r\n--{boundary}--\r\n");
    parts.push_back(Part::Text(Bytes::from(end)));
    parts
}

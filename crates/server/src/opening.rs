//! What a connection begins with.

use std::io;

use bytes::BytesMut;

use crate::socket::Stream;

/// What a client of HTTP/2 with prior knowledge begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest request line that is looked at; hyper judges a longer one.
const MAX_LINE: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Http1,
    Http2,
    /// A request line with a major version that is neither.
    UnknownVersion,
    /// HTTP, where TLS is spoken.
    WithoutTls,
    /// Nothing, not even a byte.
    Closed,
}

/// Reads until it is clear what the client speaks. What was read is in `buffer`.
///
/// Hyper answers an unknown version with 400 like any other syntax error, so this is told apart
/// here, once a connection: a client does not change its version between requests.
pub(crate) async fn read(stream: &Stream, buffer: &mut BytesMut) -> io::Result<Opening> {
    loop {
        // An idle connection has no buffer yet.
        stream.readable().await?;
        buffer.reserve(MAX_LINE);
        match stream.try_read_buf(buffer) {
            Ok(0) => return Ok(at_end(buffer)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if buffer.is_empty() {
                    *buffer = BytesMut::new();
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        if let Some(opening) = tell(buffer) {
            return Ok(opening);
        }
    }
}

/// What a client spoke that says nothing more.
pub(crate) fn at_end(bytes: &[u8]) -> Opening {
    if bytes.is_empty() {
        Opening::Closed
    } else {
        // Hyper knows what to make of half a request.
        Opening::Http1
    }
}

/// `None` as long as more bytes are needed.
pub(crate) fn tell(bytes: &[u8]) -> Option<Opening> {
    if bytes.starts_with(HTTP2_PREFACE) {
        return Some(Opening::Http2);
    }
    if HTTP2_PREFACE.starts_with(bytes) {
        return None;
    }
    // Empty lines before a request are to be ignored (RFC 9112, section 2.2).
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let line = start.map_or(&[][..], |start| &bytes[start..]);
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => Some(version(&line[..end])),
        None if bytes.len() >= MAX_LINE => Some(Opening::Http1),
        None => None,
    }
}

/// Only `HTTP/x.y` with a foreign `x` is an unknown version; any other fault is hyper's to judge.
fn version(line: &[u8]) -> Opening {
    let line = line.trim_ascii_end();
    let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match last.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', b'0'..=b'9']) => Opening::Http1,
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Opening::UnknownVersion
        }
        _ => Opening::Http1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_major_version_is_told_from_other_faults() {
        let of = |line: &str| tell(line.as_bytes());
        assert_eq!(of("GET / HTTP/1.1\r\n"), Some(Opening::Http1));
        assert_eq!(of("\r\nGET / HTTP/1.0\r\n"), Some(Opening::Http1));
        assert_eq!(of("GET / HTTP/3.0\r\n"), Some(Opening::UnknownVersion));
        assert_eq!(of("GET / HTTP/2.0\r\n"), Some(Opening::UnknownVersion));
        assert_eq!(of("GET / HTTP/0.9\n"), Some(Opening::UnknownVersion));
        assert_eq!(of("GET / HTTPS/3.0\r\n"), Some(Opening::Http1));
        assert_eq!(of("GET /\r\n"), Some(Opening::Http1));
    }

    #[test]
    fn more_is_read_until_it_is_clear() {
        assert_eq!(tell(b""), None);
        assert_eq!(tell(b"P"), None);
        assert_eq!(tell(&HTTP2_PREFACE[..23]), None);
        assert_eq!(tell(HTTP2_PREFACE), Some(Opening::Http2));
        assert_eq!(tell(b"PUT / HT"), None);
        assert_eq!(tell(b"\r\n\r\n"), None);
        assert_eq!(tell(&[b'x'; MAX_LINE]), Some(Opening::Http1));
    }
}

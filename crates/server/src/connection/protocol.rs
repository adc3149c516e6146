//! Sniffs the protocol of a new connection from its first bytes: HTTP/1, HTTP/2 with prior knowledge, or neither.

use std::io;
use std::ops::Range;

use bytes::BytesMut;

use sockets::Stream;

/// What a client of HTTP/2 with prior knowledge begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest request line that is looked at; hyper judges a longer one.
const MAX_LINE: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/1.2 or later, which is served as HTTP/1.1 (RFC 9110, section 2.5).
    NewerHttp1,
    Http2,
    /// A request line with a major version that is neither.
    UnknownVersion,
    /// HTTP, where TLS is spoken.
    WithoutTls,
    /// Nothing, not even a byte.
    Closed,
}

impl Protocol {
    /// Makes the first request, which has been read ahead, one of HTTP/1.1 if its minor version is
    /// newer: hyper takes no other.
    pub(crate) fn rewrite_version(self, read_ahead: &mut BytesMut) {
        if self == Self::NewerHttp1
            && let Some(line) = request_line(read_ahead)
            && let Some(minor) = read_ahead[line].last_mut()
        {
            *minor = b'1';
        }
    }
}

/// Reads until it is clear what the client speaks. What was read is in `buffer`.
///
/// Hyper answers an unknown version with 400 like any other syntax error, so it is detected
/// here, once a connection: a client does not change its version between requests.
pub(crate) async fn read(stream: &Stream, buffer: &mut BytesMut) -> io::Result<Protocol> {
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
        if let Some(protocol) = sniff(buffer) {
            return Ok(protocol);
        }
    }
}

/// The protocol of a client that has sent `bytes`, and ended its side.
pub(crate) fn at_end(bytes: &[u8]) -> Protocol {
    if bytes.is_empty() {
        Protocol::Closed
    } else {
        // hyper answers an incomplete request.
        Protocol::Http1
    }
}

/// `None` as long as more bytes are needed.
pub(crate) fn sniff(bytes: &[u8]) -> Option<Protocol> {
    if bytes.starts_with(HTTP2_PREFACE) {
        return Some(Protocol::Http2);
    }
    if HTTP2_PREFACE.starts_with(bytes) {
        return None;
    }
    match request_line(bytes) {
        Some(line) => Some(version(&bytes[line])),
        None if bytes.len() >= MAX_LINE => Some(Protocol::Http1),
        None => None,
    }
}

/// Where the request line is, without its end; `None` if that has not come.
fn request_line(bytes: &[u8]) -> Option<Range<usize>> {
    // Empty lines before a request are to be ignored (RFC 9112, section 2.2).
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let length = bytes[start..].iter().position(|byte| *byte == b'\n')?;
    let line = bytes[start..start + length].trim_ascii_end();
    Some(start..start + line.len())
}

/// Only `HTTP/x.y` with a foreign `x` is an unknown version; any other fault is hyper's to judge.
fn version(line: &[u8]) -> Protocol {
    let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match last.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', b'0' | b'1']) => Protocol::Http1,
        Some([b'1', b'.', b'2'..=b'9']) => Protocol::NewerHttp1,
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Protocol::UnknownVersion
        }
        _ => Protocol::Http1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_major_version_is_distinguished_from_other_faults() {
        let of = |line: &str| sniff(line.as_bytes());
        assert_eq!(of("GET / HTTP/1.1\r\n"), Some(Protocol::Http1));
        assert_eq!(of("\r\nGET / HTTP/1.0\r\n"), Some(Protocol::Http1));
        assert_eq!(of("GET / HTTP/3.0\r\n"), Some(Protocol::UnknownVersion));
        assert_eq!(of("GET / HTTP/2.0\r\n"), Some(Protocol::UnknownVersion));
        assert_eq!(of("GET / HTTP/0.9\n"), Some(Protocol::UnknownVersion));
        assert_eq!(of("GET / HTTPS/3.0\r\n"), Some(Protocol::Http1));
        assert_eq!(of("GET / HTTP/1.2\r\n"), Some(Protocol::NewerHttp1));
        assert_eq!(of("GET /\r\n"), Some(Protocol::Http1));
    }

    #[test]
    fn a_newer_minor_version_is_rewritten_to_1_1() {
        let rewritten = |text: &str| {
            let mut bytes = BytesMut::from(text);
            sniff(&bytes).unwrap().rewrite_version(&mut bytes);
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(
            rewritten("\r\nGET /1.2 HTTP/1.2\r\nhost: HTTP/1.2\r\n\r\n"),
            "\r\nGET /1.2 HTTP/1.1\r\nhost: HTTP/1.2\r\n\r\n"
        );
        for kept in [
            "GET / HTTP/1.0\r\n",
            "GET / HTTP/2.2\r\n",
            "GET / HTTP/1.2x\n",
        ] {
            assert_eq!(rewritten(kept), kept);
        }
    }

    #[test]
    fn more_is_read_until_it_is_clear() {
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"P"), None);
        assert_eq!(sniff(&HTTP2_PREFACE[..23]), None);
        assert_eq!(sniff(HTTP2_PREFACE), Some(Protocol::Http2));
        assert_eq!(sniff(b"PUT / HT"), None);
        assert_eq!(sniff(b"\r\n\r\n"), None);
        assert_eq!(sniff(&[b'x'; MAX_LINE]), Some(Protocol::Http1));
    }
}

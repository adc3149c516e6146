//! A prefilter for the steps of long routes: most of them are excluded by a few bytes of host and path.

use crate::{Match, Request};

/// A necessary condition for a `match`: some bytes at the beginning of the host, and at the end of the
/// prefix of the path. It takes some ten instructions and follows no pointer, and leaves few steps of a
/// thousand to be compared in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefilter {
    host: Window,
    uri: Window,
}

/// Up to eight bytes at an offset of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    at: usize,
    /// The bytes; zeros where any byte is accepted.
    word: u64,
    /// Ones for the bytes that are compared.
    mask: u64,
}

/// A value, and its first eight bytes, padded with zeros.
struct Value<'a> {
    bytes: &'a [u8],
    first: u64,
}

/// The parts of a request that prefilters compare.
pub(crate) struct PrefilterInput<'a> {
    host: Value<'a>,
    uri: Value<'a>,
}

impl Prefilter {
    /// The prefilter of a `match`.
    pub(crate) fn of(tests: &Match) -> Self {
        Self {
            // Hosts of a route mostly differ at their beginning, paths after a common prefix.
            host: Window::new(tests.host_prefix(), 0),
            uri: Window::new(
                tests.uri_prefix(),
                tests.uri_prefix().len().saturating_sub(8),
            ),
        }
    }

    /// False if the request cannot match.
    pub(crate) fn admits(&self, request: &PrefilterInput<'_>) -> bool {
        self.host.is_in(&request.host) && self.uri.is_in(&request.uri)
    }
}

impl<'a> PrefilterInput<'a> {
    pub(crate) fn of(request: &Request<'a>) -> Self {
        Self {
            host: Value::new(request.host.as_bytes()),
            uri: Value::new(request.target.path()),
        }
    }
}

impl Window {
    fn new(beginning: &[u8], at: usize) -> Self {
        let bytes = beginning.get(at..).unwrap_or_default();
        Self {
            at,
            word: first_word(bytes),
            mask: first_word(&[0xff; 8][..bytes.len().min(8)]),
        }
    }

    fn is_in(&self, value: &Value<'_>) -> bool {
        let word = if self.at == 0 {
            value.first
        } else {
            // An offset above 0 means that eight bytes are compared.
            let Some(eight) = value.bytes.get(self.at..).and_then(<[u8]>::first_chunk) else {
                return false;
            };
            u64::from_le_bytes(*eight)
        };
        word & self.mask == self.word
    }
}

impl<'a> Value<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            first: first_word(bytes),
        }
    }
}

fn first_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(beginning: &str, at: usize, value: &str) -> bool {
        Window::new(beginning.as_bytes(), at).is_in(&Value::new(value.as_bytes()))
    }

    #[test]
    fn a_prefilter_admits_every_value_with_its_prefix() {
        for (beginning, at) in [
            ("", 0),
            ("/", 0),
            ("/a", 0),
            ("/1234567", 0),
            ("/12345678", 1),
            ("/12345678", 0),
        ] {
            for rest in ["", "x", "/and/more/of/it"] {
                assert!(is_in(beginning, at, &format!("{beginning}{rest}")));
            }
        }
        for (beginning, at, value) in [
            ("/a", 0, "/"),
            ("/a", 0, "/b"),
            ("/a", 0, ""),
            ("/12345678", 1, "/1234567"),
            ("/12345678", 1, "/12345679"),
            ("/12345678", 1, "/"),
            ("/12345678", 1, ""),
        ] {
            assert!(!is_in(beginning, at, value), "{beginning} {value}");
        }
    }
}

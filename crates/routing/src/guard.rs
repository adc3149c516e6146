use crate::{Match, Request};

/// What a request has in common with all requests that a `match` matches: some bytes at the beginning of
/// its host, and at the end of what its path begins with. Few steps are left of a thousand when that is
/// asked first, in some ten instructions each and without following a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    host: Window,
    uri: Window,
}

/// Up to eight bytes at a place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    at: usize,
    /// The bytes, and zeroes in the place of those that may be any.
    word: u64,
    /// Which bytes count.
    mask: u64,
}

/// A value, and its first eight bytes, with zeroes behind a shorter one.
struct Value<'a> {
    bytes: &'a [u8],
    first: u64,
}

/// What of a request guards look at.
pub(crate) struct Guarded<'a> {
    host: Value<'a>,
    uri: Value<'a>,
}

impl Guard {
    /// That of a `match`.
    pub(crate) fn of(tests: &Match) -> Self {
        Self {
            // Names of hosts differ in front, paths behind what they share.
            host: Window::new(tests.host(), 0),
            uri: Window::new(tests.uri(), tests.uri().len().saturating_sub(8)),
        }
    }

    /// Whether the request may match; if not, it does not.
    pub(crate) fn admits(&self, request: &Guarded<'_>) -> bool {
        self.host.is_in(&request.host) && self.uri.is_in(&request.uri)
    }
}

impl<'a> Guarded<'a> {
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
            // It is eight bytes then.
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
    fn a_window_is_in_all_that_begins_with_its_text_and_in_little_else() {
        for (beginning, at) in [
            ("", 0),
            ("/", 0),
            ("/a", 0),
            ("/1234567", 0),
            ("/12345678", 1),
            ("/12345678", 0),
        ] {
            for behind in ["", "x", "/and/more/of/it"] {
                assert!(is_in(beginning, at, &format!("{beginning}{behind}")));
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

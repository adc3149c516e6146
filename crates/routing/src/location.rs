//! The `Location` of a `return`.

use std::borrow::Cow;

use untrusted_text::percent;

/// The `Location` for the `location` of a `return`.
///
/// A text in which every byte is allowed in a URI is not changed. Otherwise all bytes that are not allowed
/// are percent-encoded, and so is every `%`, even of a valid escape: `%20 ` becomes `%2520%20`. The first
/// `?`, and the first `#` after or without it, are delimiters and stay.
pub fn encode_location(location: &[u8]) -> Cow<'_, [u8]> {
    if is_encoded(location) {
        return Cow::Borrowed(location);
    }
    let mut delimiters = Delimiters::default();
    let mut encoded = Vec::with_capacity(location.len() + 16);
    for &byte in location {
        if percent::is_unsafe(byte) && !delimiters.take(byte) {
            percent::push_encoded(byte, &mut encoded);
        } else {
            encoded.push(byte);
        }
    }
    Cow::Owned(encoded)
}

fn is_encoded(location: &[u8]) -> bool {
    let mut delimiters = Delimiters::default();
    let mut rest = location;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            match percent::escaped_byte(tail) {
                Some((_, tail)) => rest = tail,
                None => return false,
            }
        } else if percent::is_unsafe(byte) && !delimiters.take(byte) {
            return false;
        }
    }
    true
}

/// Which of the delimiters `?` and `#` have been seen.
#[derive(Default)]
struct Delimiters {
    query: bool,
    fragment: bool,
}

impl Delimiters {
    /// Whether `byte` is a delimiter at this place.
    fn take(&mut self, byte: u8) -> bool {
        match byte {
            b'?' if !self.query && !self.fragment => {
                self.query = true;
                true
            }
            b'#' if !self.fragment => {
                self.fragment = true;
                true
            }
            _ => false,
        }
    }
}

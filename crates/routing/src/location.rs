use std::borrow::Cow;

use untrusted_text::percent;

/// What to send as `Location` for the `location` of a `return`.
///
/// A text that is a URI already stays as it is. In one that is not, whatever has no place in a URI is
/// percent-encoded, and with it every `%`, also one that was meant to begin an escape: `%20 ` is
/// `%2520%20`. The first `?`, and the first `#` behind or without it, part a URI and stay.
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

/// Which of `?` and `#` have been seen.
#[derive(Default)]
struct Delimiters {
    query: bool,
    fragment: bool,
}

impl Delimiters {
    /// Whether `byte` parts the URI here.
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

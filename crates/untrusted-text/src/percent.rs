//! Percent-encoding (RFC 3986, section 2.1), with Unit's choice of which bytes are encoded.
//!
//! | function | `+` | `%` without two hexadecimal digits |
//! | --- | --- | --- |
//! | [`decode`] | a plus sign | an error |
//! | [`decode_form`] | a space | an error |
//! | [`decode_query`], [`query_bytes`] | a space | a percent sign |
//!
//! The crate `percent-encoding` has only the third row's leniency, without the `+`, and no iterator
//! that could add it.

use std::borrow::Cow;
use std::iter;

/// Decodes each `%XX` once. `None` if a `%` is not followed by two hexadecimal digits.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    decode_strictly(text, b'+')
}

/// Like [`decode`], and `+` is a space, as in queries that HTML forms send.
#[must_use]
pub fn decode_form(text: &[u8]) -> Option<Vec<u8>> {
    decode_strictly(text, b' ')
}

fn decode_strictly(text: &[u8], plus: u8) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match byte {
            b'%' => {
                let (byte, tail) = escaped_byte(tail)?;
                rest = tail;
                byte
            }
            b'+' => plus,
            _ => byte,
        });
    }
    Some(decoded)
}

/// Decodes a query leniently: `+` is a space, and a `%` without two hexadecimal digits stays. Copies
/// only if there is something to decode.
#[must_use]
pub fn decode_query(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = text.iter().position(|byte| matches!(byte, b'%' | b'+')) else {
        return Cow::Borrowed(text);
    };
    let (plain, rest) = text.split_at(first);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    decoded.extend(query_bytes(rest));
    Cow::Owned(decoded)
}

/// The bytes of [`decode_query`], without allocating: routes compare many names with each request.
pub fn query_bytes(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        Some(match byte {
            b'%' => match escaped_byte(tail) {
                Some((byte, tail)) => {
                    rest = tail;
                    byte
                }
                None => b'%',
            },
            b'+' => b' ',
            _ => byte,
        })
    })
}

/// Appends a path. Each byte for which [`is_unsafe`] holds is encoded.
pub fn push_path(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        if is_unsafe(byte) {
            push_encoded(byte, out);
        } else {
            out.push(byte);
        }
    }
}

/// Appends `byte` as `%XX`, in upper case.
pub fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

/// Whether Unit encodes this byte when it writes a URI: what RFC 3986 allows nowhere in a URI, and the
/// delimiters `%`, `?` and `#`. Square brackets stay.
#[must_use]
pub fn is_unsafe(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | 0x7f.. | b'%' | b'?' | b'#')
        || matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// The byte that the two hexadecimal digits after a `%` stand for, and the text after them.
#[must_use]
pub fn escaped_byte(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = digits.split_first_chunk()?;
    Some((hexadecimal(high)? << 4 | hexadecimal(low)?, rest))
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_percent_decoding_decodes_once_and_refuses_incomplete_escapes() {
        assert_eq!(decode(b"a%20b+%2B").unwrap(), b"a b++");
        assert_eq!(decode_form(b"a%20b+%2b").unwrap(), b"a b +");
        assert_eq!(decode(b"%2525%fF").unwrap(), b"%25\xff");
        for wrong in ["%", "%1", "%1G", "a%", "%%1F", "%7%F"] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn lenient_percent_decoding_keeps_incomplete_escapes() {
        assert_eq!(&*decode_query(b"%xx+%2a%"), b"%xx *%");
        assert_eq!(&*decode_query(b"%1"), b"%1");
        assert!(matches!(decode_query(b"plain=text"), Cow::Borrowed(_)));
    }

    #[test]
    fn percent_encoding_leaves_what_a_path_may_have() {
        let mut encoded = Vec::new();
        push_path(
            "/ä b%?#[1]\\~!$&'()*+,;=:@-._\r\n\x7f".as_bytes(),
            &mut encoded,
        );
        let wanted = "/%C3%A4%20b%25%3F%23[1]%5C~!$&'()*+,;=:@-._%0D%0A%7F";
        assert_eq!(encoded, wanted.as_bytes());
    }
}

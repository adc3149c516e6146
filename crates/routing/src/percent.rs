//! Percent-encoding, read and written.

use std::borrow::Cow;
use std::iter;

/// Decodes what a configuration says. `None` where a `%` has no two hexadecimal digits behind it.
pub(crate) fn decode(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match byte {
            b'%' => {
                let (byte, tail) = escape(tail)?;
                rest = tail;
                byte
            }
            b'+' if plus_is_space => b' ',
            _ => byte,
        });
    }
    Some(decoded)
}

/// Decodes what is in a query: `+` is a space, and a `%` without its digits is a percent sign. A
/// text in which there is nothing to decode is not copied.
pub(crate) fn decode_query(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = text.iter().position(|byte| matches!(byte, b'%' | b'+')) else {
        return Cow::Borrowed(text);
    };
    let (plain, rest) = text.split_at(first);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    decoded.extend(query_bytes(rest));
    Cow::Owned(decoded)
}

/// The same without memory, byte by byte: for whoever only compares, with each of many, as routes do.
pub(crate) fn query_bytes(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        Some(match byte {
            b'%' => match escape(tail) {
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

/// Appends `byte`, encoded.
pub(crate) fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

/// Whether Unit encodes this byte when it writes a URI: what RFC 3986 has no place for, and `%`, `?`
/// and `#`, which mean something there.
pub(crate) fn is_unsafe(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | 0x7f.. | b'%' | b'?' | b'#')
        || matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// The byte that the two hexadecimal digits at the beginning mean, and what is behind them.
pub(crate) fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
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
    fn a_configuration_is_decoded_strictly_and_once() {
        assert_eq!(decode(b"a%20b+%2B", false).unwrap(), b"a b++");
        assert_eq!(decode(b"a%20b+%2b", true).unwrap(), b"a b +");
        assert_eq!(decode(b"%2525%fF", false).unwrap(), b"%25\xff");
        for wrong in ["%", "%1", "%1G", "a%", "%%1F", "%7%F"] {
            assert_eq!(decode(wrong.as_bytes(), false), None, "{wrong}");
        }
    }

    #[test]
    fn a_query_is_decoded_as_far_as_it_goes() {
        assert_eq!(&*decode_query(b"%xx+%2a%"), b"%xx *%");
        assert_eq!(&*decode_query(b"%1"), b"%1");
        assert!(matches!(decode_query(b"plain=text"), Cow::Borrowed(_)));
    }
}

//! Framing: where a message ends, and the defence against smuggling by ambiguous lengths.

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

use crate::token_list::tokens;

/// How the fields of a message delimit its body (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither a length nor chunks.
    None,
    /// A length in bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Ambiguous framing: two readers could see different ends of the message, which is what smuggling uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// `content-length` is empty, negative, above 64 bits, or not decimal.
    #[error("content-length is not a number")]
    NotANumber,
    /// Several numbers that are not the same.
    #[error("there are different values of content-length")]
    Several,
    /// A coding other than a single `chunked`. No other is decoded here, and no request here asks for one in `te`.
    #[error("transfer-encoding is not just chunked")]
    Coding,
    /// RFC 9112, section 6.1: probably an attempt at smuggling.
    #[error("there are both content-length and transfer-encoding")]
    Both,
}

impl Framing {
    /// The framing of a message with these fields.
    ///
    /// # Errors
    ///
    /// If it is ambiguous.
    pub fn of(fields: &HeaderMap) -> Result<Self, FramingError> {
        match (content_length(fields)?, is_chunked(fields)?) {
            (None, false) => Ok(Self::None),
            (Some(length), false) => Ok(Self::Length(length)),
            (None, true) => Ok(Self::Chunked),
            (Some(_), true) => Err(FramingError::Both),
        }
    }

    /// Whether the fields announce a body that may have a byte.
    pub fn announces_content(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }
}

/// The value of `content-length`, if there is one. The same value may be repeated (RFC 9110, section 8.6).
///
/// # Errors
///
/// If there are different values, or one is not a number.
pub fn content_length(fields: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut length = None;
    for text in fields.get_all(CONTENT_LENGTH).iter().flat_map(tokens) {
        let number = number(text).ok_or(FramingError::NotANumber)?;
        if length.is_some_and(|length| length != number) {
            return Err(FramingError::Several);
        }
        length = Some(number);
    }
    Ok(length)
}

fn is_chunked(fields: &HeaderMap) -> Result<bool, FramingError> {
    let mut values = fields.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(FramingError::Coding),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_smuggling_a_message_has_one_framing() {
        let of = |values: &[(&'static str, &str)]| {
            let mut fields = HeaderMap::new();
            for (name, value) in values {
                fields.append(*name, value.parse().unwrap());
            }
            Framing::of(&fields)
        };
        assert_eq!(of(&[]), Ok(Framing::None));
        let (length, coding) = ("content-length", "transfer-encoding");
        assert_eq!(of(&[(coding, "Chunked")]), Ok(Framing::Chunked));
        for value in ["5", "005", "5, 5"] {
            assert_eq!(of(&[(length, value)]), Ok(Framing::Length(5)), "{value}");
        }
        assert_eq!(of(&[(length, "5"), (length, "5")]), Ok(Framing::Length(5)));
        for value in [
            "",
            "+5",
            "-5",
            "5,",
            "5 5",
            "0x5",
            "99999999999999999999",
            "5;",
        ] {
            let framing = of(&[(length, value)]);
            assert_eq!(framing, Err(FramingError::NotANumber), "{value}");
        }
        let several = of(&[(length, "5"), (length, "6")]);
        assert_eq!(several, Err(FramingError::Several));
        assert_eq!(of(&[(length, "5, 6")]), Err(FramingError::Several));
        for value in ["", "gzip", "gzip, chunked", "chunked, chunked", "identity"] {
            let framing = of(&[(coding, value)]);
            assert_eq!(framing, Err(FramingError::Coding), "{value}");
        }
        let twice = of(&[(coding, "chunked"), (coding, "chunked")]);
        assert_eq!(twice, Err(FramingError::Coding));
        let both = of(&[(length, "5"), (coding, "chunked")]);
        assert_eq!(both, Err(FramingError::Both));
    }
}

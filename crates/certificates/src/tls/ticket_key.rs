//! Configured keys for session tickets, in Base64.

use std::fmt;

/// A key for session tickets, as `tickets` contains it: 48 or 80 bytes in Base64. The first 16 bytes are
/// the key's name, which is sent in the clear.
///
/// Unit encrypts with AES-128-CBC or AES-256-CBC and HMAC, depending on the length. *ring* has no CBC, so
/// here AES-256-GCM encrypts, with keys that HKDF (RFC 5869) derives from the other bytes. Servers of this
/// kind that share a key accept each other's tickets, but not those of Unit: each TLS library has its own
/// format of sessions.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    pub(crate) name: [u8; 16],
    pub(crate) secret: Vec<u8>,
}

impl TicketKey {
    /// Parses a key. Both alphabets of Base64 are accepted, with and without padding, as in Unit.
    ///
    /// # Errors
    ///
    /// If it is not Base64, or has another length. The message does not contain the text, which is secret.
    pub fn parse(text: &str) -> Result<Self, TicketKeyError> {
        let bytes = decode(text.as_bytes()).ok_or(TicketKeyError::Base64)?;
        if !matches!(bytes.len(), 48 | 80) {
            return Err(TicketKeyError::Length(bytes.len()));
        }
        let (name, secret) = bytes
            .split_first_chunk()
            .ok_or(TicketKeyError::Length(bytes.len()))?;
        Ok(Self {
            name: *name,
            secret: secret.to_vec(),
        })
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

/// Why a text is not a ticket key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketKeyError {
    /// It is not Base64.
    #[error("a ticket key must be 48 or 80 bytes in Base64")]
    Base64,
    /// It has another length.
    #[error("a ticket key must have 48 or 80 bytes, not {0}")]
    Length(usize),
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    // Padding, where there is any, makes the length a multiple of four.
    let digits = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] if text.len().is_multiple_of(4) => digits,
        _ => text,
    };
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for &digit in group {
            bits = bits << 6 | value(digit)?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, all @ ..] = bits.to_be_bytes();
        bytes.extend(all.iter().take(group.len() - 1));
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_in_both_alphabets_with_and_without_padding() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zg", b"f"),
            ("Zm8=", b"fo"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg", b"foob"),
            ("+/-_", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for text in [
            "Z", "Zm9vY", "Zg=", "=", "==", "====", "Z===", "Zm9v=", "Zm9v====", "Zg==Zg==",
            "Zm 9v", "Zm9v\n",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn ticket_keys_have_48_or_80_bytes() {
        for length in 0..=200 {
            let text = "A".repeat(length);
            let bytes = length * 3 / 4;
            let wanted = match (length % 4, bytes) {
                (1, _) => Err(TicketKeyError::Base64),
                (_, 48 | 80) => Ok(bytes - 16),
                _ => Err(TicketKeyError::Length(bytes)),
            };
            let read = TicketKey::parse(&text).map(|key| key.secret.len());
            assert_eq!(read, wanted, "{length}");
        }
    }
}

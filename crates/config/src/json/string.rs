//! Strings of JSON, with their escapes resolved.

use super::error::{Failure, JsonErrorKind as Kind, fail};

/// The string whose opening quote is at `open`, and where it ends.
pub(super) fn read(text: &[u8], open: usize) -> Result<(String, usize), Failure> {
    let start = open + 1;
    let (end, escapes) = closing_quote(text, start)?;
    let raw = &text[start..end];
    let raw = match str::from_utf8(raw) {
        Ok(raw) => raw,
        Err(error) => return fail(Kind::NotUtf8, start + error.valid_up_to()),
    };
    let string = if escapes {
        unescape(raw, start)?
    } else {
        raw.to_owned()
    };
    Ok((string, end + 1))
}

/// The closing quote of the string that starts at `start`, and whether there are escapes before it. All escapes have
/// been checked to be complete.
fn closing_quote(text: &[u8], start: usize) -> Result<(usize, bool), Failure> {
    let mut at = start;
    let mut escapes = false;
    loop {
        match text.get(at) {
            None => return fail(Kind::EndInString, text.len()),
            Some(b'"') => return Ok((at, escapes)),
            Some(b'\\') => {
                escapes = true;
                at = escape_end(text, at)?;
            }
            Some(0..0x20) => return fail(Kind::Control, at),
            Some(_) => at += 1,
        }
    }
}

fn escape_end(text: &[u8], backslash: usize) -> Result<usize, Failure> {
    match text.get(backslash + 1) {
        None => fail(Kind::EndInString, text.len()),
        Some(b'"' | b'\\' | b'/' | b'n' | b'r' | b't' | b'b' | b'f') => Ok(backslash + 2),
        Some(b'u') => {
            let digits = backslash + 2..backslash + 6;
            for at in digits.clone() {
                match text.get(at) {
                    None => return fail(Kind::EndInString, text.len()),
                    Some(byte) if byte.is_ascii_hexdigit() => {}
                    Some(_) => return fail(Kind::UnicodeEscape, at),
                }
            }
            Ok(digits.end)
        }
        Some(_) => fail(Kind::Escape, backslash),
    }
}

/// Resolves the escapes of `raw`, which starts at `start` in the text.
fn unescape(raw: &str, start: usize) -> Result<String, Failure> {
    let mut string = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(backslash) = rest.find('\\') {
        string.push_str(&rest[..backslash]);
        rest = &rest[backslash..];
        let at = start + raw.len() - rest.len();
        let (character, length) = match rest.as_bytes().get(1) {
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'u') => unicode(rest, at)?,
            // A quote, a backslash or a slash stands for itself.
            Some(&byte) => (char::from(byte), 2),
            None => return fail(Kind::Escape, at),
        };
        string.push(character);
        rest = &rest[length..];
    }
    string.push_str(rest);
    Ok(string)
}

/// The character of the `\uXXXX`, or the pair of them, at the start of `rest`.
fn unicode(rest: &str, at: usize) -> Result<(char, usize), Failure> {
    let unit = |from: usize| {
        let digits = rest.get(from..from + 4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(2).unwrap_or(0);
    if let Some(character) = char::from_u32(first.into()) {
        return Ok((character, 6));
    }
    let second = rest
        .get(6..8)
        .filter(|next| *next == "\\u")
        .and_then(|_| unit(8));
    match second {
        Some(second) if first < 0xDC00 => match char::decode_utf16([first, second]).next() {
            Some(Ok(character)) => Ok((character, 12)),
            _ => fail(Kind::SurrogatePair, at),
        },
        _ => fail(Kind::LoneSurrogate, at),
    }
}

//! The parser: text to value tree.

use std::collections::HashSet;

use super::error::{Failure, JsonError, JsonErrorKind as Kind, Location, fail};
use super::limits::{MAX_DEPTH, MAX_ELEMENTS};
use super::string;
use crate::value::{Number, index};
use crate::{Object, Path, Value};

/// Unit's longest number.
const MAX_NUMBER: usize = 14;

/// Reads one value. A byte order mark at the start is skipped.
///
/// The caller bounds the size of `text`; a value takes at most some fifty times
/// the memory of its text.
///
/// # Errors
///
/// The first error, and its place.
///
/// ```
/// let error = config::parse(b"{\n\t\"a\": 1\n\t\"b\": 2\n}").unwrap_err();
/// assert_eq!(error.kind, config::JsonErrorKind::ObjectComma);
/// assert_eq!(error.location.to_string(), "line 3, column 2");
/// ```
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    Parser {
        text,
        depth: 0,
        found: 0,
    }
    .document(None)
    .map_err(|Failure { kind, at }| JsonError {
        kind,
        location: Location::of(text, at),
    })
}

/// Where in `text` the value at `path` starts; where its nearest parent starts
/// if the value itself is missing. `None` if `text` does not parse.
///
/// Errors of the check name a path; this converts it to a line and a column of the text.
///
/// ```
/// let text = b"{\n\t\"listeners\": {\n\t\t\"*:80\": 7\n\t}\n}";
/// let path = ["listeners", "*:80"].into_iter().collect();
/// assert_eq!(config::locate(text, &path).unwrap().to_string(), "line 3, column 11");
/// ```
#[must_use]
pub fn locate(text: &[u8], path: &Path) -> Option<Location> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut parser = Parser {
        text,
        depth: 0,
        found: 0,
    };
    parser.document(Some(path.segments())).ok()?;
    Some(Location::of(text, parser.found))
}

/// A value, and where it ends.
type Parsed = Result<(Value, usize), Failure>;

/// The rest of the path that [`locate`] follows. `None` in values that are not on it.
type Sought<'a> = Option<&'a [String]>;

struct Parser<'a> {
    text: &'a [u8],
    depth: usize,
    /// Where the last value on the sought path started.
    found: usize,
}

impl Parser<'_> {
    fn document(&mut self, sought: Sought<'_>) -> Result<Value, Failure> {
        let start = self.skip_space(0);
        if start == self.text.len() {
            return fail(Kind::Empty, 0);
        }
        let (value, end) = self.value(start, sought)?;
        let end = self.skip_space(end);
        if end == self.text.len() {
            Ok(value)
        } else {
            fail(Kind::Trailing, end)
        }
    }

    /// The value that starts at `at`, and where it ends.
    fn value(&mut self, at: usize, sought: Sought<'_>) -> Parsed {
        if sought.is_some() {
            self.found = at;
        }
        let rest = &self.text[at..];
        let literal = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        match rest {
            [b'{', ..] => self.nested(at, sought, Self::object),
            [b'[', ..] => self.nested(at, sought, Self::array),
            [b'"', ..] => string::read(self.text, at).map(|(text, end)| (Value::String(text), end)),
            [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => self.number(at),
            _ => literal
                .into_iter()
                .find(|(word, _)| rest.starts_with(word.as_bytes()))
                .map_or_else(
                    || fail(Kind::Value, at),
                    |(word, v)| Ok((v, at + word.len())),
                ),
        }
    }

    fn nested(
        &mut self,
        at: usize,
        sought: Sought<'_>,
        read: fn(&mut Self, usize, Sought<'_>) -> Parsed,
    ) -> Parsed {
        if self.depth == MAX_DEPTH {
            return fail(Kind::Depth, at);
        }
        self.depth += 1;
        let result = read(self, at, sought);
        self.depth -= 1;
        result
    }

    fn object(&mut self, open: usize, sought: Sought<'_>) -> Parsed {
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut names = HashSet::new();
        let mut at = open;
        loop {
            let name_at = self.skip_space(at + 1);
            match self.text.get(name_at) {
                None => return fail(Kind::EndInObject, name_at),
                Some(b'}') => return Ok((Object::from_unique(members).into(), name_at + 1)),
                Some(b'"') => {}
                Some(_) => return fail(Kind::Name, name_at),
            }
            if members.len() == MAX_ELEMENTS {
                return fail(Kind::Elements, name_at);
            }
            let (name, end) = string::read(self.text, name_at)?;
            if !names.insert(name.clone()) {
                return fail(Kind::Duplicate, name_at);
            }
            at = self.skip_space(end);
            match self.text.get(at) {
                None => return fail(Kind::EndInMember, at),
                Some(b':') => at = self.skip_space(at + 1),
                Some(_) => return fail(Kind::Colon, at),
            }
            if at == self.text.len() {
                return fail(Kind::EndInMember, at);
            }
            let below = sought.and_then(|path| below(path, |segment| *segment == name));
            let (value, end) = self.value(at, below)?;
            members.push((name, value));
            at = self.skip_space(end);
            match self.text.get(at) {
                None => return fail(Kind::EndInObject, at),
                Some(b',') => {}
                Some(b'}') => return Ok((Object::from_unique(members).into(), at + 1)),
                Some(_) => return fail(Kind::ObjectComma, at),
            }
        }
    }

    fn array(&mut self, open: usize, sought: Sought<'_>) -> Parsed {
        let mut elements = Vec::new();
        let mut at = open;
        loop {
            at = self.skip_space(at + 1);
            match self.text.get(at) {
                None => return fail(Kind::EndInArray, at),
                Some(b']') => return Ok((Value::Array(elements), at + 1)),
                Some(_) => {}
            }
            if elements.len() == MAX_ELEMENTS {
                return fail(Kind::Elements, at);
            }
            let here = elements.len();
            let below = sought.and_then(|path| below(path, |segment| index(segment) == Some(here)));
            let (value, end) = self.value(at, below)?;
            elements.push(value);
            at = self.skip_space(end);
            match self.text.get(at) {
                None => return fail(Kind::EndInArray, at),
                Some(b',') => {}
                Some(b']') => return Ok((Value::Array(elements), at + 1)),
                Some(_) => return fail(Kind::ArrayComma, at),
            }
        }
    }

    fn number(&self, start: usize) -> Parsed {
        let digits = |from: usize| {
            let rest = &self.text[from..];
            from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let first = start + usize::from(self.text[start] == b'-');
        let mut end = digits(first);
        if self.text[first] == b'0' && end - first > 1 {
            return fail(Kind::LeadingZero, first);
        }
        if self.text.get(end) == Some(&b'.') {
            let point = end;
            end = digits(point + 1);
            if end == point + 1 {
                return fail(Kind::Fraction, first);
            }
        }
        if let Some(b'e' | b'E') = self.text.get(end) {
            let sign = matches!(self.text.get(end + 1), Some(b'+' | b'-'));
            let exponent = end + 1 + usize::from(sign);
            end = digits(exponent);
            if end == exponent {
                return fail(Kind::Exponent, start);
            }
        }
        // The bytes are ASCII: only digits, signs, a point and an e were taken.
        let text = String::from_utf8_lossy(&self.text[start..end]);
        if text.len() > MAX_NUMBER {
            return fail(Kind::NumberLength, start);
        }
        if !in_range(&text) {
            return fail(Kind::NumberRange, start);
        }
        let continues = !matches!(
            self.text.get(end),
            None | Some(
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b'}' | b']' | b'{' | b'[' | b'"' | b'/'
            )
        );
        match Number::new(&text) {
            Some(number) if !continues => Ok((Value::Number(number), end)),
            _ => fail(Kind::Value, start),
        }
    }

    /// The first byte at or after `at` that is neither space nor comment. A comment that does not end is not
    /// skipped, so that the caller finds an unexpected slash.
    fn skip_space(&self, mut at: usize) -> usize {
        loop {
            let rest = &self.text[at.min(self.text.len())..];
            let length = match rest {
                [b' ' | b'\t' | b'\n' | b'\r', ..] => Some(1),
                [b'/', b'/', comment @ ..] => comment
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .map(|end| end + 3),
                [b'/', b'*', comment @ ..] => comment
                    .windows(2)
                    .position(|pair| pair == b"*/")
                    .map(|end| end + 4),
                _ => None,
            };
            match length {
                Some(length) => at += length,
                None => return at,
            }
        }
    }
}

fn below(path: &[String], is: impl Fn(&String) -> bool) -> Option<&[String]> {
    path.split_first()
        .and_then(|(first, rest)| is(first).then_some(rest))
}

/// Unit's range: what `strtod` neither overflows nor underflows on, below 2⁶³.
fn in_range(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let zero = !mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    text.parse::<f64>().is_ok_and(|number| {
        // As a double, Unit's largest 64-bit integer is 2⁶³ itself.
        number.abs() <= 9_223_372_036_854_775_808.0 && (zero || number.is_normal())
    })
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;

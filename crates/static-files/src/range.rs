//! `Range` requests (RFC 9110, section 14).

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;

/// The limit on ranges of one request. With more, the whole file is sent.
pub const MAX_RANGES: usize = 16;

/// One `range-spec` of `bytes` (RFC 9110, section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// `first-last`, or `first-` with the greatest `last`.
    From { first: u64, last: u64 },
    /// `-length`
    Suffix(u64),
}

/// The ranges of a request, resolved against the size of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The whole file: no valid ranges, or too many.
    Whole,
    /// One or more parts, none of them empty, in the client's order.
    Parts(Vec<Range<u64>>),
    /// Only ranges after the end of the file: 416.
    Nothing,
}

/// Parses the `Range` of a request for a file of `size` bytes.
///
/// The field is ignored, and the whole file sent, for units other than `bytes`; a malformed or repeated field; more
/// than [`MAX_RANGES`] ranges; ranges that together are longer than the file, and so overlap (RFC 9110,
/// section 14.2). Ranges after the end of the file are left out if another one is within it.
pub(crate) fn of(headers: &HeaderMap, size: u64) -> Asked {
    let mut values = headers.get_all(RANGE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => resolve(value.as_bytes(), size),
        _ => Asked::Whole,
    }
}

pub(crate) fn resolve(value: &[u8], size: u64) -> Asked {
    let Some(specs) = parse(value) else {
        return Asked::Whole;
    };
    let mut parts = Vec::with_capacity(specs.len());
    let mut sum: u64 = 0;
    for spec in specs {
        let part = match spec {
            Spec::From { first, last } => first..last.saturating_add(1).min(size),
            // A suffix of an empty file is the whole file: `Content-Range` cannot express an empty part.
            Spec::Suffix(length) if length > 0 && size == 0 => return Asked::Whole,
            Spec::Suffix(length) => size.saturating_sub(length)..size,
        };
        if !part.is_empty() {
            sum = sum.saturating_add(part.end - part.start);
            parts.push(part);
        }
    }
    if parts.is_empty() {
        Asked::Nothing
    } else if sum > size {
        Asked::Whole
    } else {
        Asked::Parts(parts)
    }
}

/// The specs of a field value; `None` if it is malformed or has too many.
fn parse(value: &[u8]) -> Option<Vec<Spec>> {
    let value = value.trim_ascii();
    let unit = value.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = (&value[..unit], &value[unit + 1..]);
    // RFC 9110, section 14.1: units are compared without regard to case.
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for element in set.split(|byte| *byte == b',') {
        let element = trim(element);
        // RFC 9110, section 5.6.1.2: empty elements of a list are ignored.
        if element.is_empty() {
            continue;
        }
        if specs.len() == MAX_RANGES {
            return None;
        }
        specs.push(spec(element)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn spec(element: &[u8]) -> Option<Spec> {
    let hyphen = element.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&element[..hyphen], &element[hyphen + 1..]);
    if first.is_empty() {
        return number(last).map(Spec::Suffix);
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    (first <= last).then_some(Spec::From { first, last })
}

/// A number of digits only; one that overflows becomes the greatest, which is after the end of any file.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number: u64, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

fn trim(element: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = element.iter().take_while(|byte| is_blank(byte)).count();
    let rest = &element[start..];
    let end = rest.iter().rev().take_while(|byte| is_blank(byte)).count();
    &rest[..rest.len() - end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str) -> Vec<(u64, u64)> {
        match resolve(value.as_bytes(), 10) {
            Asked::Parts(parts) => parts.iter().map(|part| (part.start, part.end)).collect(),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(parts("bytes=0-0"), [(0, 1)]);
        assert_eq!(parts("BYTES=2-"), [(2, 10)]);
        assert_eq!(parts("bytes=-3"), [(7, 10)]);
        assert_eq!(parts("bytes=-99999999999999999999999"), [(0, 10)]);
        assert_eq!(parts("bytes=9-99999999999999999999999"), [(9, 10)]);
        assert_eq!(parts("bytes= , 8-9,,\t0-1 ,"), [(8, 10), (0, 2)]);
        assert_eq!(parts("bytes=20-30,5-6,-0"), [(5, 7)]);
    }

    #[test]
    fn a_malformed_range_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes =0-1",
            "lines=0-1",
            "bytes=1-0",
            "bytes=a-b",
            "bytes=-",
            "bytes=0",
            "bytes=0-1-2",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=0-1;2-3",
            "bytes=0-1,x",
            "bytes=--1",
            "bytes=0x1-2",
        ] {
            assert_eq!(resolve(value.as_bytes(), 10), Asked::Whole, "{value}");
        }
    }

    #[test]
    fn ranges_after_the_end_are_not_satisfiable() {
        for value in ["bytes=10-", "bytes=10-11,-0", "bytes=18446744073709551616-"] {
            assert_eq!(resolve(value.as_bytes(), 10), Asked::Nothing, "{value}");
        }
        assert_eq!(resolve(b"bytes=0-", 0), Asked::Nothing);
        assert_eq!(resolve(b"bytes=-1", 0), Asked::Whole);
    }

    #[test]
    fn too_many_or_overlapping_ranges_get_the_whole_file() {
        let most = format!("bytes={}", "0-0,".repeat(MAX_RANGES));
        assert_eq!(resolve(most.as_bytes(), 1000), Asked::Parts(vec![0..1; 16]));
        let more = format!("bytes={}", "0-0,".repeat(MAX_RANGES + 1));
        assert_eq!(resolve(more.as_bytes(), 1000), Asked::Whole);
        assert_eq!(resolve(b"bytes=0-,0-", 1000), Asked::Whole);
    }
}

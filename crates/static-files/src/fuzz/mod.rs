//! The entry point for fuzzing. Exists in test and fuzzing builds only.

#[cfg(test)]
mod mutations;

use http::header::{ACCEPT_ENCODING, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};

use crate::coding::Accepted;
use crate::conditions::{self, Verdict};
use crate::range::{self, Asked, MAX_RANGES};
use crate::validators::{Modified, Validators};
use crate::{etag_list, path};

/// Runs `data` through everything that reads fields of requests. It must return whatever `data` is.
///
/// The first byte makes the size of the file. Each line after it is the value of one field: a range,
/// accepted codings, a list of tags; the rest is a date or tag, and, besides, a path.
///
/// # Panics
///
/// When a range is not in the file, more is sent than was asked for, or a canonical form reads
/// back as something else. That is what a fuzzer looks for.
pub fn fuzz_fields(data: &[u8]) {
    let (size, data) = data.split_first().unwrap_or((&0, b""));
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    ranges(line(), u64::from(*size));
    codings(line());
    let tags = line();
    conditions(tags, line());
    paths(tags);
}

fn ranges(value: &[u8], size: u64) {
    let Asked::Parts(parts) = range::resolve(value, size) else {
        return;
    };
    assert!((1..=MAX_RANGES).contains(&parts.len()), "{parts:?}");
    let mut canonical = String::from("bytes=");
    let mut sum = 0;
    for part in &parts {
        assert!(part.start < part.end && part.end <= size, "{part:?}");
        sum += part.end - part.start;
        canonical += &format!("{}-{},", part.start, part.end - 1);
    }
    assert!(sum <= size, "{parts:?} is more than the file");
    let again = range::resolve(canonical.as_bytes(), size);
    assert_eq!(again, Asked::Parts(parts), "{canonical} reads otherwise");
}

fn codings(value: &[u8]) {
    let mut accepted = Accepted::default();
    accepted.read(value);
    let preferred: Vec<_> = accepted.preferred().collect();
    assert!(preferred.len() <= 3);
    for coding in &preferred {
        let same = preferred.iter().filter(|other| *other == coding).count();
        assert_eq!(same, 1, "{coding:?} is there twice");
        let named = value
            .to_ascii_lowercase()
            .windows(coding.name().len())
            .any(|name| name == coding.name().as_bytes());
        assert!(named || value.contains(&b'*'), "{coding:?} is not accepted");
    }
    if !accepted.identity() {
        assert!(value.contains(&b'0'), "nothing excludes identity");
    }
    // What comes last in a list changes nothing that is there already.
    let before = accepted;
    accepted.read(value);
    assert_eq!(accepted, before);
}

fn conditions(tags: &[u8], date: &[u8]) {
    let ours = Validators {
        modified: Modified {
            seconds: 0x5d66_459d,
            nanoseconds: 1,
        },
        size: 13,
        coding: None,
    };
    let now = std::time::SystemTime::now();
    let tag = ours.entity_tag(now);
    let Ok(tags) = HeaderValue::from_bytes(tags) else {
        return;
    };
    let with = |field: &HeaderName, value: &HeaderValue| {
        let mut headers = HeaderMap::new();
        headers.insert(field, value.clone());
        headers
    };
    let strongly = with(&IF_MATCH, &tags);
    let weakly = with(&IF_NONE_MATCH, &tags);
    let strong = etag_list::any_matches(&strongly, &IF_MATCH, tag.comparable(), false);
    let weak = etag_list::any_matches(&weakly, &IF_NONE_MATCH, tag.comparable(), true);
    assert!(weak || !strong, "{tags:?} matches only strongly");
    let verdict = |headers| conditions::evaluate(headers, &tag, &ours, now);
    assert_eq!(verdict(&strongly) == Verdict::Send, strong);
    assert_eq!(verdict(&weakly) == Verdict::Send, !weak);

    let Ok(date) = HeaderValue::from_bytes(date) else {
        return;
    };
    let mut headers = with(&IF_RANGE, &date);
    headers.insert(RANGE, tags.clone());
    headers.insert(ACCEPT_ENCODING, tags);
    let _ = conditions::if_range_matches(&headers, &tag, &ours, now);
    let _ = range::of(&headers, 13);
    let _ = Accepted::of(&headers);
}

fn paths(text: &[u8]) {
    if let Some(rest) = path::below(b"/srv//www", text) {
        assert!(text.ends_with(rest) && !rest.starts_with(b"/"));
    }
    let location = crate::redirect::location(text, "");
    assert!(!location.starts_with(b"//") || location == b"//");
    assert!(HeaderValue::from_bytes(&location).is_ok());
}

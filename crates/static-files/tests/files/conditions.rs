//! RFC 9110, section 13.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};

use crate::support::{Answer, DATE, MODIFIED, Site};

const TAG: &str = "\"2ebc98a1-5\"";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn site() -> Site {
    Site::new(&[("a.txt", "hello")])
}

fn with(fields: &[(HeaderName, &str)]) -> Answer {
    let site = site();
    let mut ask = site.ask("/a.txt");
    for (name, value) in fields {
        ask = ask.field(name.clone(), value);
    }
    ask.answer()
}

fn status(fields: &[(HeaderName, &str)]) -> u16 {
    with(fields).status
}

#[test]
fn a_file_has_an_etag_of_units_form_and_last_modified() {
    let answer = with(&[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field(ETAG), format!("\"{MODIFIED:x}-5\""));
    assert_eq!(answer.field(ETAG), TAG);
    assert_eq!(answer.field(LAST_MODIFIED), DATE);
}

#[test]
fn a_conditional_request_for_an_unchanged_file_gets_304() {
    for fields in [
        [(IF_NONE_MATCH, TAG)],
        [(IF_NONE_MATCH, "\"x\", W/\"2ebc98a1-5\"")],
        [(IF_NONE_MATCH, "*")],
        [(IF_MODIFIED_SINCE, DATE)],
        [(IF_MODIFIED_SINCE, AFTER)],
        [(IF_MODIFIED_SINCE, "Sunday, 06-Nov-94 08:49:37 GMT")],
        [(IF_MODIFIED_SINCE, "Sun Nov  6 08:49:37 1994")],
    ] {
        let answer = with(&fields);
        assert_eq!(answer.status, 304, "{fields:?}");
        assert_eq!(answer.body, b"", "{fields:?}");
        assert_eq!(answer.field(ETAG), TAG);
        assert!(!answer.headers.contains_key(CONTENT_LENGTH), "{fields:?}");
        assert!(!answer.headers.contains_key(CONTENT_TYPE), "{fields:?}");
    }
}

#[test]
fn a_conditional_request_for_a_changed_file_gets_200() {
    for fields in [
        [(IF_NONE_MATCH, "\"2ebc98a1-6\"")],
        [(IF_NONE_MATCH, "2ebc98a1-5")],
        [(IF_MODIFIED_SINCE, BEFORE)],
        [(IF_MODIFIED_SINCE, "yesterday")],
        [(IF_MODIFIED_SINCE, "784111778")],
    ] {
        assert_eq!(status(&fields), 200, "{fields:?}");
    }
    let twice = [(IF_MODIFIED_SINCE, AFTER), (IF_MODIFIED_SINCE, AFTER)];
    assert_eq!(status(&twice), 200);
    let in_two_fields = [(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, TAG)];
    assert_eq!(status(&in_two_fields), 304);
}

#[test]
fn a_failed_precondition_gets_412() {
    for (fields, expected) in [
        ([(IF_MATCH, TAG)], 200),
        ([(IF_MATCH, "*")], 200),
        ([(IF_MATCH, "\"x\"")], 412),
        ([(IF_MATCH, "W/\"2ebc98a1-5\"")], 412),
        ([(IF_MATCH, "")], 412),
        ([(IF_UNMODIFIED_SINCE, DATE)], 200),
        ([(IF_UNMODIFIED_SINCE, BEFORE)], 412),
        ([(IF_UNMODIFIED_SINCE, "never")], 200),
    ] {
        assert_eq!(status(&fields), expected, "{fields:?}");
    }
}

#[test]
fn etags_have_precedence_over_dates_and_preconditions_over_all() {
    for (fields, expected) in [
        (
            vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DATE)],
            200,
        ),
        (vec![(IF_NONE_MATCH, TAG), (IF_MODIFIED_SINCE, BEFORE)], 304),
        (vec![(IF_MATCH, TAG), (IF_UNMODIFIED_SINCE, BEFORE)], 200),
        (vec![(IF_MATCH, "\"x\""), (IF_UNMODIFIED_SINCE, AFTER)], 412),
        (vec![(IF_MATCH, "\"x\""), (IF_NONE_MATCH, TAG)], 412),
        (vec![(IF_MATCH, TAG), (IF_NONE_MATCH, TAG)], 304),
        (
            vec![(IF_UNMODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, TAG)],
            412,
        ),
        (vec![(IF_NONE_MATCH, TAG), (RANGE, "bytes=0-0")], 304),
        (vec![(IF_MATCH, "\"x\""), (RANGE, "bytes=9-")], 412),
    ] {
        assert_eq!(status(&fields), expected, "{fields:?}");
    }
}

#[test]
fn conditions_hold_for_head_as_well() {
    let site = site();
    let head = || site.ask("/a.txt").method(Method::HEAD);
    assert_eq!(head().field(IF_NONE_MATCH, TAG).answer().status, 304);
    assert_eq!(head().field(IF_MATCH, "\"x\"").answer().status, 412);
    // It is not GET's range.
    let answer = head().field(RANGE, "bytes=0-0").answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field(CONTENT_LENGTH), "5");
    assert_eq!(answer.body, b"");
}

#[test]
fn if_range_with_another_etag_or_date_gets_the_whole_file() {
    for (value, expected) in [
        (TAG, 206),
        (DATE, 206),
        ("W/\"2ebc98a1-5\"", 200),
        ("\"x\"", 200),
        (AFTER, 200),
        (BEFORE, 200),
        ("*", 200),
        ("", 200),
    ] {
        let fields = [(RANGE, "bytes=0-0"), (IF_RANGE, value)];
        assert_eq!(status(&fields), expected, "{value}");
    }
    assert_eq!(status(&[(IF_RANGE, TAG)]), 200);
    assert_eq!(status(&[(RANGE, "bytes=9-"), (IF_RANGE, "\"x\"")]), 200);
}

#[test]
fn if_range_never_matches_while_the_file_may_change_within_its_second() {
    let site = site();
    let at = |seconds| {
        let mut ask = site.ask("/a.txt");
        ask.now = UNIX_EPOCH + Duration::from_secs(seconds);
        let ask = ask.field(RANGE, "bytes=0-0").field(IF_RANGE, TAG);
        ask.answer().status
    };
    assert_eq!(at(MODIFIED), 200);
    assert_eq!(at(MODIFIED + 1), 200);
    assert_eq!(at(MODIFIED + 2), 206);
}

#[test]
fn etag_and_last_modified_detect_two_writes_within_a_second() {
    for (first, second) in [(100_000_000, 900_000_000), (0, 0), (7, 7)] {
        let site = site();
        let ask = |since: f64| {
            let mut ask = site.ask("/a.txt");
            ask.now = UNIX_EPOCH + Duration::from_secs(MODIFIED) + Duration::from_secs_f64(since);
            ask
        };
        let write = |text: &str, nanoseconds| {
            site.write("a.txt", text);
            let time = UNIX_EPOCH + Duration::new(MODIFIED, nanoseconds);
            site.set_modified_at("a.txt", time);
        };
        write("hello", first);
        let before = ask(0.95).answer();
        assert!(before.field(ETAG).starts_with("W/"), "{before:?}");
        write("world", second);
        // Soon, and when everything has settled.
        for since in [0.95, 1.5, 10.0] {
            for (field, value) in [
                (IF_NONE_MATCH, before.field(ETAG)),
                (IF_MODIFIED_SINCE, before.field(LAST_MODIFIED)),
            ] {
                let answer = ask(since).field(field.clone(), value).answer();
                assert_eq!(answer.status, 200, "{field} after {since} s");
                assert_eq!(answer.text(), "world");
            }
            for value in [before.field(ETAG), before.field(LAST_MODIFIED)] {
                let ask = ask(since).field(RANGE, "bytes=3-");
                assert_eq!(ask.field(IF_RANGE, value).answer().text(), "world");
            }
        }
    }
}

#[test]
fn an_etag_is_strong_and_matches_again_once_it_has_settled() {
    let site = site();
    let time = UNIX_EPOCH + Duration::new(MODIFIED, 900_000_000);
    site.set_modified_at("a.txt", time);
    let answer = site.get("/a.txt");
    assert_eq!(answer.field(ETAG), "\"2ebc98a1.35a4e900-5\"");
    assert_eq!(answer.field(LAST_MODIFIED), DATE);
    for (field, value) in [
        (IF_NONE_MATCH, answer.field(ETAG)),
        (IF_MODIFIED_SINCE, DATE),
    ] {
        let answer = site.ask("/a.txt").field(field, value).answer();
        assert_eq!(answer.status, 304);
    }
    // Unit's tag of this second may be of another state of the file.
    let unit_s = site.ask("/a.txt").field(IF_NONE_MATCH, TAG);
    assert_eq!(unit_s.answer().status, 200);
    // Whatever the file is, it is there.
    let mut any = site.ask("/a.txt").field(IF_NONE_MATCH, "*");
    any.now = time;
    assert_eq!(any.answer().status, 304);
}

#[test]
fn last_modified_in_the_future_becomes_now() {
    let site = site();
    let mut ask = site.ask("/a.txt");
    ask.now = UNIX_EPOCH + Duration::from_secs(MODIFIED - 1);
    let answer = ask.answer();
    // The second before it, which is over.
    assert_eq!(answer.field(LAST_MODIFIED), "Sun, 06 Nov 1994 08:49:35 GMT");
    assert_eq!(answer.field(ETAG), "W/\"2ebc98a1-5-new\"");
}

//! What becomes of a request's target.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

use routing::{Target, TargetError};

fn path(raw: &str) -> String {
    let target = Target::parse(raw.as_bytes()).unwrap();
    String::from_utf8(target.path().to_vec()).unwrap()
}

fn refused(raw: &str) -> TargetError {
    Target::parse(raw.as_bytes()).unwrap_err()
}

#[test]
fn dot_segments_are_resolved() {
    for (raw, wanted) in [
        ("/", "/"),
        ("/blah", "/blah"),
        ("//blah", "/blah"),
        ("///", "/"),
        ("/slash/foo/../", "/slash/"),
        ("/slash/./", "/slash/"),
        ("/slash//.//", "/slash/"),
        ("/slash/.", "/slash/"),
        ("/slash/foo/..", "/slash/"),
        ("/a/b/c/../../d", "/a/d"),
        ("/a/..", "/"),
        ("/a/../b/", "/b/"),
        ("/.", "/"),
        ("/./", "/"),
        ("/.well-known/acme", "/.well-known/acme"),
        ("/..a/...", "/..a/..."),
        ("/a./b../c", "/a./b../c"),
        ("/a//", "/a/"),
    ] {
        assert_eq!(path(raw), wanted, "{raw}");
    }
}

#[test]
fn path_traversal_above_the_root_is_refused() {
    for raw in [
        "/..",
        "/../",
        "/../etc/passwd",
        "/a/../..",
        "/a/../../b",
        "/./..",
        "//..",
        "/%2e%2e",
        "/.%2E/a",
        "/a/%2e%2e/..%2fb",
        "/..?a",
        "/..#a",
    ] {
        assert_eq!(refused(raw), TargetError::AboveRoot, "{raw}");
    }
}

#[test]
fn a_path_is_percent_decoded_once_and_before_dot_segments_are_resolved() {
    for (raw, wanted) in [
        ("/%62%6c%61%68", "/blah"),
        ("/5%2A", "/5*"),
        ("/blah%25blah", "/blah%blah"),
        ("/%2562", "/%62"),
        ("/a%2F%2fb", "/a/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a/%2E%2e/b", "/b"),
        ("/a/b%2f..", "/a/"),
        ("/a%3fb%23c", "/a?b#c"),
        ("/..%3f/", "/..?/"),
        ("/.%25", "/.%"),
        ("/a+b%20c", "/a+b c"),
        ("/a%0a", "/a\n"),
        ("/%d0%AE", "/Ю"),
    ] {
        assert_eq!(path(raw), wanted, "{raw}");
    }
    let target = Target::parse(b"/%ff\xfe").unwrap();
    assert_eq!(target.path(), b"/\xff\xfe");
}

#[test]
fn a_percent_sign_needs_two_digits_in_a_path() {
    for raw in [
        "/%", "/%1", "/%A", "/%1G", "/%%1F", "/%?a", "/%4#1", "/a%/b",
    ] {
        assert_eq!(refused(raw), TargetError::PercentEncoding, "{raw}");
    }
    assert_eq!(path("/a?%"), "/a");
}

#[test]
fn null_characters_and_line_breaks_are_refused() {
    for raw in ["/%00", "/a%00?b", "/a\0", "/a\r", "/a\n", "/a?\0", "/a#\r"] {
        assert_eq!(refused(raw), TargetError::Forbidden, "{raw:?}");
    }
}

#[test]
fn a_target_begins_with_a_slash() {
    for raw in ["", "*", "a", "?a", "http://example.com/", "%2f", " /"] {
        assert_eq!(refused(raw), TargetError::NotAbsolute, "{raw}");
    }
}

#[test]
fn the_query_is_between_the_question_mark_and_the_fragment() {
    for (raw, wanted, query) in [
        ("/blah#foo", "/blah", ""),
        ("/blah?var", "/blah", "var"),
        ("/blah?", "/blah", ""),
        ("/9?q#a", "/9", "q"),
        ("/a?b?c", "/a", "b?c"),
        ("/a?b/../c//%2f", "/a", "b/../c//%2f"),
        ("/a#b?c", "/a", ""),
        ("/a?#", "/a", ""),
        ("/slash/.?args", "/slash/", "args"),
        ("/slash/.#frag", "/slash/", ""),
        ("/slash/foo/..?args", "/slash/", "args"),
        ("/slash/foo/..#frag", "/slash/", ""),
        ("/?a b", "/", "a b"),
    ] {
        let target = Target::parse(raw.as_bytes()).unwrap();
        assert_eq!(target.path(), wanted.as_bytes(), "{raw}");
        assert_eq!(target.query(), query.as_bytes(), "{raw}");
        assert_eq!(target.raw(), raw.as_bytes());
        assert!(!target.is_rewritten());
    }
}

/// What is sent on for `raw`.
fn sent(raw: &str) -> String {
    let target = Target::parse(raw.as_bytes()).unwrap();
    let sent = target.to_send();
    assert_eq!(target.is_respelled(), *sent != *raw.as_bytes(), "{raw}");
    String::from_utf8(sent.into_owned()).unwrap()
}

#[test]
fn a_path_traversal_is_sent_on_in_canonical_form() {
    for (raw, wanted) in [
        // Read segment by segment, as the control API does, this is /config/routes/metrics.
        (
            "/config/routes/..%2F..%2Fstatus%2Fx/../metrics",
            "/status/metrics",
        ),
        ("/a/../b?c=../d//e", "/b?c=../d//e"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a%2f..%2fb", "/b"),
        ("/a/%2E/b", "/a/b"),
        // The URL of another host, to parsers that take it for a reference.
        ("//a/b", "/a/b"),
        ("/a//b", "/a/b"),
        ("/a/%2fb", "/a/b"),
        ("/a%2F%2fb", "/a/b"),
        // A slash to WHATWG's parser.
        ("/a/..\\..\\b", "/a/..%5C..%5Cb"),
        ("/a\\b", "/a%5Cb"),
        // What is decoded on the way is encoded again.
        (
            "/a/../%252e%252e/%25%3f%23%20%C3%A9+;",
            "/%252e%252e/%25%3F%23%20%C3%A9+;",
        ),
        ("/x/../a%2Fb", "/a/b"),
        ("/x/../a?", "/a"),
    ] {
        assert_eq!(sent(raw), wanted, "{raw}");
    }
}

#[test]
fn a_target_without_path_traversal_is_sent_on_unchanged() {
    for raw in [
        "/",
        "/a%2Fb",
        "/a%2fb/c",
        "/%61%2D+%2B",
        "/a;b=c/d",
        "/a/..b/...",
        "/a/.well-known",
        "/%252e%252e/a",
        "/%5Ca",
        "/a?b=/../c//d\\",
        "/a?",
        "/\u{e9}%c3%A9",
    ] {
        assert_eq!(sent(raw), raw);
    }
}

#[test]
fn a_dot_segment_with_parameters_is_refused() {
    for raw in [
        "/a/..;/b",
        "/a/..;x=y/b",
        "/a/..;",
        "/.;/a",
        "/a/%2e%2e;/b",
        "/a/..%3b/b",
        "/a%2F..;%2Fb",
    ] {
        assert_eq!(refused(raw), TargetError::DotSegmentParameters, "{raw}");
    }
    for raw in ["/a;..", "/a../;b", "/..a;b", "/;", "/...;/a", "/?/..;/"] {
        assert!(Target::parse(raw.as_bytes()).is_ok(), "{raw}");
    }
}

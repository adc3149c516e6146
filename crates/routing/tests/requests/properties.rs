//! Tests by `host`, `method`, `uri`, `query`, `scheme`, `source` and `destination`; patterns and regular
//! expressions.

use routing::{AddressPatterns, Endpoint, Match, PatternErrorKind, Patterns, Property};
use routing::{PropertyRule, Scheme, Test};

use crate::support::{Sample, property};

fn matches(kind: Property, patterns: &[&str], sample: &Sample) -> bool {
    sample.matches(&Match::new([property(kind, patterns)]))
}

fn uri(patterns: &[&str], target: &str) -> bool {
    matches(Property::Uri, patterns, &Sample::get(target))
}

fn host(patterns: &[&str], host: &'static str) -> bool {
    let sample = Sample {
        host,
        ..Sample::get("/")
    };
    matches(Property::Host, patterns, &sample)
}

fn method(patterns: &[&str], method: &'static str) -> bool {
    let sample = Sample {
        method,
        ..Sample::get("/")
    };
    matches(Property::Method, patterns, &sample)
}

fn query(patterns: &[&str], target: &str) -> bool {
    matches(Property::Query, patterns, &Sample::get(target))
}

fn refused(property: Property, pattern: &str) -> PatternErrorKind {
    let mut rule = PropertyRule::new(property);
    rule.push(pattern).unwrap_err().kind
}

#[test]
fn a_pattern_without_wildcards_is_the_whole_value() {
    assert!(uri(&["/"], "/"));
    assert!(!uri(&["/"], "/blah"));
    assert!(!uri(&[""], "/"));
    assert!(uri(&["/blah", "/slash/"], "/blah?var"));
    assert!(uri(&["/blah", "/slash/"], "/slash/foo/.."));
    assert!(!uri(&["/blah", "/slash/"], "/"));
    assert!(uri(&["/blah"], "/%62%6c%61%68"));
}

#[test]
fn a_wildcard_stands_for_any_number_of_characters() {
    for (pattern, value, wanted) in [
        ("*", "/", true),
        ("/bla*", "/blah", true),
        ("/bla*", "/bla", true),
        ("*blah", "/blah", true),
        ("*blah", "/blah1", false),
        ("*bla*", "/blah", true),
        ("/b*h", "/blah", true),
        ("/a*x*y*", "/axy", true),
        ("/a*x*y*", "/ayx", false),
        ("/bla*bla*", "/bla_foo", false),
        ("*bla*bla*", "/bla_foo", false),
        ("/bla*bla", "/foo_bla", false),
        ("/bla*la", "/bla", false),
        ("*a*B*c*", "/blah-a-B-c-blah", true),
        ("*a*B*c*", "/aBc", true),
        ("*a*B*c*", "/aBCaBbc", true),
        ("*a*B*c*", "/ABc", false),
        ("/admin/*/*.php", "/admin/a/b.php", true),
        ("/admin/*/*.php", "/admin/b.php", false),
        ("*ab*", "/aab", true),
    ] {
        assert_eq!(uri(&[pattern], value), wanted, "{pattern} {value}");
    }
    assert!(host(&["ex*le"], "example"));
    for other in ["www.example", "example.com", "exampl"] {
        assert!(!host(&["ex*le"], other), "{other}");
    }
}

#[test]
fn a_leading_exclamation_mark_negates() {
    for (pattern, value, wanted) in [
        ("!", "/", true),
        ("!*", "/", false),
        ("!/", "/", false),
        ("!/", "/blah", true),
        ("!*blah", "/bla", true),
        ("!*blah", "/blah", false),
        ("!*blah", "/blah1", true),
        ("!/blah*1*", "/blah", true),
        ("!/blah*1*", "/blah12", false),
        ("!*/api/*", "/v1/api/x", false),
        ("!*/api/*", "/v1/api", true),
    ] {
        assert_eq!(uri(&[pattern], value), wanted, "{pattern} {value}");
    }
}

#[test]
fn several_patterns_need_no_negated_and_one_other_match() {
    let mixed = &["*example.com", "!www.example.com"];
    assert!(host(mixed, "example.com"));
    assert!(!host(mixed, "www.example.com"));
    assert!(!host(mixed, "localhost"));
    assert!(host(mixed, "!www.example.com"));
    assert!(host(&["*example*", "!www.example*"], "example.com"));
    assert!(!host(&["*example*", "!www.example*"], "www.example.com"));
    assert!(!host(
        &["eu-*.example.com", "!eu-5.example.com"],
        "eu-5.example.com"
    ));

    assert!(method(&["GET", "POST"], "POST"));
    assert!(!method(&["GET", "POST"], "DELETE"));
    assert!(!method(&["!GET", "!POST"], "POST"));
    assert!(method(&["!GET", "!POST"], "DELETE"));

    assert!(uri(&[], "/blah"));
    let dates = &["/articles/*", r"!~/articles/\d{4}-\d{2}-\d{2}"];
    assert!(uri(dates, "/articles/last"));
    assert!(!uri(dates, "/articles/2026-01-31"));
}

#[test]
fn method_patterns_are_converted_to_upper_case() {
    for pattern in ["GET", "get", "*get", "*et", "g*t", "ge*", "*et*", "*"] {
        assert!(method(&[pattern], "GET"), "{pattern}");
    }
    for pattern in ["*ET", "GE*", "*GET*"] {
        assert!(!method(&[pattern], "POST"), "{pattern}");
    }
    // Methods are compared with case (RFC 9110, section 9.1): this is another one.
    assert!(!method(&["get"], "get"));
}

#[test]
fn host_patterns_are_converted_to_lower_case() {
    assert!(host(&["Example.com"], "example.com"));
    assert!(host(&["*.EXAMPLE.com"], "www.example.com"));
    assert!(host(&["[::1]"], "[::1]"));
    assert!(host(&[""], ""));
    assert!(!host(&[""], "localhost"));
    // A regular expression stays as it is.
    assert!(!host(&["~Example"], "example.com"));
}

#[test]
fn paths_are_case_sensitive() {
    assert!(uri(&["/BLAH"], "/BLAH"));
    for other in ["/blah", "/BlaH"] {
        assert!(!uri(&["/BLAH"], other), "{other}");
    }
    assert!(!uri(&["/b*h"], "/BLAH"));
    assert!(!uri(&["*bla*"], "/BLAH"));
}

#[test]
fn a_path_pattern_is_percent_decoded_after_its_wildcards_are_found() {
    assert!(uri(&["/a%20b"], "/a%20b"));
    assert!(uri(&["/%2A*"], "/*a"));
    assert!(!uri(&["/%2A*"], "/a"));
    assert!(uri(&["%2fa"], "/a"));
    assert!(uri(&["/a+b"], "/a+b"));
    assert!(!uri(&["/a+b"], "/a%20b"));
    assert!(uri(&["/*%C3*"], "/Ö"));
    // Nothing that was decoded starts a pattern.
    assert!(!uri(&["%21/a"], "/b"));
    assert!(!uri(&["%7E."], "/b"));
}

#[test]
fn regular_expressions_match_anywhere_and_are_case_sensitive() {
    for (pattern, value, wanted) in [
        ("~", "/anything", true),
        ("!~", "/", false),
        ("~/bl[ah]", "/blah", true),
        ("~/bl[ah]", "/rlah", false),
        ("~/bl[ah]", "/BLAH", false),
        ("!~/bl[ah]", "/blh", false),
        ("!~/bl[ah]", "/BLAH", true),
        ("~(?i)/bl[ah]", "/BLAH", true),
        (r"~^/data/www/.*\.php(/.*)?$", "/data/www/a/b.php", true),
        (r"~^/data/www/.*\.php(/.*)?$", "/data/www/a/b.php5", false),
        ("~^/.$", "/%ff", true),
        ("~^/Ю$", "/%D0%AE", true),
        (r"~^/\xff$", "/%ff", true),
        (r"~^/\x25$", "/%25", true),
        (r"~^/\w$", "/%c3", false),
    ] {
        assert_eq!(uri(&[pattern], value), wanted, "{pattern} {value}");
    }
    // PCRE's `$` matches in front of a line feed at the end, too.
    assert!(!uri(&["~a$"], "/a%0a"));
}

#[test]
fn a_query_is_compared_whole_and_percent_decoded() {
    for target in ["/", "/?"] {
        assert!(!query(&["!"], target), "{target}");
        assert!(query(&[""], target), "{target}");
    }
    for target in ["/?foo", "/?foo=", "/?foo=baz"] {
        assert!(query(&["!"], target), "{target}");
    }
    assert!(query(&["foo=%26"], "/?foo=&"));
    assert!(query(&["a=b&c=d"], "/?a=b&c=d"));
    assert!(!query(&["a=b&c=d"], "/?c=d&a=b"));
    for target in ["/?a=b%26c%3Dd", "/?a=b&c=d"] {
        assert!(query(&["a=b%26c%3Dd"], target), "{target}");
    }
    assert!(query(&["a=b%26c%3Dd+e"], "/?a=b&c=d+e"));
    assert!(query(&["%7Efuzzy word search"], "/?~fuzzy%20word%20search"));
    assert!(query(&["foo", "bar"], "/?bar"));
    assert!(!query(&["foo", "bar"], "/"));
    for (target, wanted) in [("/?f", false), ("/?fo", false), ("/?foo", true)] {
        assert_eq!(query(&["!f", "foo"], target), wanted, "{target}");
    }
    assert!(query(&[], "/"));
    assert!(query(&["%25"], "/?%"));
}

#[test]
fn an_invalid_pattern_is_refused_with_its_reason() {
    use PatternErrorKind::{DoubleWildcard, PercentEncoding, RegexSize};
    for text in ["**", "!**", "a**b", "*a**"] {
        assert_eq!(refused(Property::Method, text), DoubleWildcard, "{text}");
    }
    for text in ["%", "%1G", "%0", "%%1F", "*%4*1", "!%", "~%zz"] {
        assert_eq!(refused(Property::Query, text), PercentEncoding, "{text}");
        assert_eq!(refused(Property::Uri, text), PercentEncoding, "{text}");
        // Nothing is decoded here.
        PropertyRule::new(Property::Host).push(text).unwrap();
    }
    assert_eq!(refused(Property::Uri, r"~(\w{500}){500}"), RegexSize);
    for text in ["~/bl[ah", "~(?R)?z", r"~(a)\1", "~(?=a)", "~(?<!a)b", "!~("] {
        let kind = refused(Property::Host, text);
        assert!(
            matches!(kind, PatternErrorKind::Regex(_)),
            "{text} {kind:?}"
        );
    }
}

#[test]
fn a_regular_expression_that_pcre_interprets_differently_is_refused() {
    for (text, reason) in [
        (
            "~a*+a",
            "possessive and doubled quantifiers are not supported at offset 2",
        ),
        (
            "~a**",
            "possessive and doubled quantifiers are not supported at offset 2",
        ),
        (
            "~[a&&b]",
            "\"&&\", \"--\" and \"~~\" in a character class are not supported at offset 1",
        ),
        (
            "~a[[b]]",
            "a \"[\" in a character class is written as \"\\[\" at offset 2",
        ),
        (
            r"~\<a",
            "the only boundaries of words are \"\\b\" and \"\\B\" at offset 0",
        ),
        (
            "~a(?R)b",
            "recursion and the flags \"R\" and \"u\" are not supported at offset 3",
        ),
        (
            "~(?u:a)",
            "recursion and the flags \"R\" and \"u\" are not supported at offset 2",
        ),
        (
            r"~\x{ff}",
            "a byte is written as \"\\xff\", without braces at offset 0",
        ),
        (
            r"~[\v]",
            "\"\\v\" is not supported, a vertical tab is \"\\x0b\" at offset 1",
        ),
        ("~[Ю]", "Unicode not allowed here"),
    ] {
        assert_eq!(
            refused(Property::Host, text),
            PatternErrorKind::Regex(reason.to_owned()),
            "{text}"
        );
    }
    for text in [
        "~(a*)+",
        "~a+?b??",
        r"~[\[\]&-]",
        "~[[:alpha:]]",
        r"~\x{41}\x41\/\-",
        "~(?i-s:a)(?P<name>b)",
        r"~\A\ba\B\z",
        "~[]a]",
    ] {
        PropertyRule::new(Property::Host).push(text).unwrap();
    }
}

#[test]
fn a_message_shows_the_value_and_the_reason() {
    let message = |text| {
        let mut rule = PropertyRule::new(Property::Uri);
        rule.push(text).unwrap_err().to_string()
    };
    assert_eq!(
        message("/a**"),
        "\"/a**\" is not a valid pattern: a \"*\" must not follow another one"
    );
    assert_eq!(
        message("!~/bl[ah"),
        "\"!~/bl[ah\" is not a valid pattern: the regular expression is not valid: unclosed character class \
         at offset 3"
    );
    assert_eq!(
        message("~(?=a)"),
        "\"~(?=a)\" is not a valid pattern: the regular expression is not valid: look-around, including \
         look-ahead and look-behind, is not supported at offset 0"
    );
    assert!(message("~(\n[").ends_with("unclosed character class at offset 2"));
    assert!(message(&format!("%{}", "z".repeat(10_000))).len() < 500);
}

#[test]
fn only_two_schemes_are_accepted() {
    let sample = |scheme| Sample {
        scheme,
        ..Sample::get("/")
    };
    for (text, http, https) in [("http", true, false), ("HtTpS", false, true)] {
        let tests = Match::new([Test::Scheme(Scheme::parse(text).unwrap())]);
        assert_eq!(sample(Scheme::Http).matches(&tests), http);
        assert_eq!(sample(Scheme::Https).matches(&tests), https);
    }
    for text in ["ftp", "ws", "*", "", "!http", "http "] {
        assert_eq!(Scheme::parse(text), None, "{text}");
    }
}

#[test]
fn source_and_destination_are_different_addresses() {
    let patterns = |text| {
        let mut patterns = AddressPatterns::new();
        patterns.push(text).unwrap();
        patterns
    };
    let sample = Sample::get("/");
    for (test, wanted) in [
        (Test::Source(patterns("*:40000")), true),
        (Test::Source(patterns("*:8080")), false),
        (Test::Destination(patterns("*:8080")), true),
        (Test::Destination(patterns("*:40000")), false),
    ] {
        assert_eq!(
            sample.matches(&Match::new([test.clone()])),
            wanted,
            "{test:?}"
        );
    }
    let unix = Sample {
        source: Endpoint::Unix,
        ..sample
    };
    assert!(unix.matches(&Match::new([Test::Source(patterns("unix"))])));
}

#[test]
fn media_types_are_compared_without_case() {
    let mut types = Patterns::media_types();
    types.push("Image/*").unwrap();
    types.push("!image/SVG+xml").unwrap();
    assert!(types.matches(b"image/png"));
    assert!(types.matches(b"IMAGE/PNG"));
    assert!(!types.matches(b"image/svg+xml"));
    assert!(!types.matches(b"text/plain"));
}

#[test]
fn rules_are_equal_when_their_texts_are() {
    let rule = |texts: &[&str]| property(Property::Uri, texts);
    assert_eq!(rule(&["/a", "!~b"]), rule(&["/a", "!~b"]));
    assert_ne!(rule(&["/a", "!~b"]), rule(&["/a", "~b"]));
    assert_ne!(rule(&["/a"]), rule(&["/b"]));
    assert_ne!(rule(&["/a"]), property(Property::Query, &["/a"]));
}

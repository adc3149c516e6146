//! Patterns for sources and destinations.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

use routing::{AddressPatternErrorKind, AddressPatterns, Endpoint};

fn patterns(texts: &[&str]) -> AddressPatterns {
    let mut patterns = AddressPatterns::new();
    for text in texts {
        patterns.push(text).unwrap();
    }
    patterns
}

/// Whether `endpoint`, a socket's address or `unix`, matches these patterns.
fn matches(texts: &[&str], endpoint: &str) -> bool {
    patterns(texts).matches(match endpoint {
        "unix" => Endpoint::Unix,
        socket => Endpoint::Ip(socket.parse().unwrap()),
    })
}

fn refused(text: &str) -> AddressPatternErrorKind {
    AddressPatterns::new().push(text).unwrap_err().kind
}

#[test]
fn an_address_matches_itself() {
    for (pattern, yes, no) in [
        ("127.0.0.1", "127.0.0.1:9", "127.0.0.2:9"),
        ("::1", "[::1]:9", "[::2]:9"),
        ("::", "[::]:9", "[::1]:9"),
        (
            "2001:0db8:1::c0a8:1",
            "[2001:db8:1::c0a8:1]:9",
            "[2001:db8:1::c0a8:2]:9",
        ),
        ("127.0.0.1-127.0.0.1", "127.0.0.1:9", "127.0.0.2:9"),
        ("127.0.0.1", "127.0.0.1:9", "[::1]:9"),
        ("::1", "[::1]:9", "127.0.0.1:9"),
        ("0.0.0.0-255.255.255.255", "10.0.0.1:9", "[::1]:9"),
    ] {
        assert!(matches(&[pattern], yes), "{pattern} {yes}");
        assert!(!matches(&[pattern], no), "{pattern} {no}");
        let negated = format!("!{pattern}");
        assert!(!matches(&[&negated], yes), "{negated} {yes}");
        assert!(matches(&[&negated], no), "{negated} {no}");
        assert!(matches(&[&negated], "unix"), "{negated}");
    }
}

#[test]
fn address_ranges_include_both_ends() {
    for (pattern, wanted) in [
        ("127.0.0.2-127.0.0.3", false),
        ("127.0.0.1-127.0.0.2", true),
        ("127.0.0.0-127.0.0.2", true),
        ("127.0.0.0-127.0.0.1", true),
        ("126.0.0.0-127.0.0.0", false),
        ("126.126.126.126-127.0.0.2", true),
    ] {
        assert_eq!(matches(&[pattern], "127.0.0.1:9"), wanted, "{pattern}");
    }
    for (pattern, wanted) in [
        ("::1-::1", true),
        ("::2-::3", false),
        ("::1-::2", true),
        ("::0-::1", true),
        ("2001:0db8::-2001:0db8:aaa9:ffff:ffff:ffff:ffff:ffff", false),
    ] {
        assert_eq!(matches(&[pattern], "[::1]:9"), wanted, "{pattern}");
    }
}

#[test]
fn networks_match_all_addresses_with_their_prefix() {
    for (pattern, wanted) in [
        ("127.0.0.1/32", true),
        ("127.0.0.0/32", false),
        ("127.0.0.0/31", true),
        ("127.255.255.255/8", true),
        ("0.0.0.0/1", true),
        ("128.0.0.0/1", false),
        ("0.0.0.0/0", true),
        ("255.255.255.255/0", true),
        ("::/0", false),
    ] {
        assert_eq!(matches(&[pattern], "127.0.0.1:9"), wanted, "{pattern}");
    }
    for (pattern, wanted) in [
        ("::1/128", true),
        ("::0/128", false),
        ("::0/127", true),
        ("::0/32", true),
        ("::0/1", true),
        ("::/0", true),
        ("2001:0db8:cccd::/48", false),
        ("0.0.0.0/0", false),
    ] {
        assert_eq!(matches(&[pattern], "[::1]:9"), wanted, "{pattern}");
    }
}

#[test]
fn ports_are_one_or_a_range() {
    for (pattern, endpoint, wanted) in [
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "127.0.0.1:81", false),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        ("127.0.0.1:80-80", "127.0.0.1:80", true),
        ("10.0.0.0/8:8080-8090", "10.1.2.3:8090", true),
        ("10.0.0.0/8:8080-8090", "10.1.2.3:8091", false),
        (
            "198.51.100.1-198.51.100.200:8000",
            "198.51.100.7:8000",
            true,
        ),
        (
            "198.51.100.1-198.51.100.200:8000",
            "198.51.100.7:8001",
            false,
        ),
        ("*:80", "192.0.2.1:80", true),
        ("*:80", "[2001:db8::1]:80", true),
        ("*:80", "[2001:db8::1]:81", false),
        ("*:0-65535", "192.0.2.1:0", true),
        ("[2001:db8::1]:80", "[2001:db8::1]:80", true),
        ("[2001:db8::1]:80", "[2001:db8::1]:81", false),
        (
            "[2001:0db8:ccce:ffff::/64]:8080-8090",
            "[2001:db8:ccce:ffff::7]:8085",
            true,
        ),
        ("[fe08::-feff::]:8000", "[fe80::1]:8000", true),
        ("*:80", "unix", false),
    ] {
        assert_eq!(
            matches(&[pattern], endpoint),
            wanted,
            "{pattern} {endpoint}"
        );
    }
}

#[test]
fn only_the_pattern_unix_matches_unix_sockets() {
    assert!(matches(&["unix"], "unix"));
    assert!(!matches(&["unix"], "127.0.0.1:9"));
    assert!(!matches(&["!unix"], "unix"));
    assert!(matches(&["!unix"], "[::1]:9"));
    assert!(matches(&["!0.0.0.0/0"], "unix"));
    assert!(matches(&["!::/0"], "unix"));
    assert!(!matches(&["0.0.0.0/0", "::/0"], "unix"));
}

#[test]
fn negated_patterns_have_precedence_in_any_order() {
    for (texts, at_8080, at_8081) in [
        (&["!*:8080", "!*:8081"][..], false, false),
        (&["!*:8081", "!*:8082"], true, false),
        (&["*:8080", "!*:8080"], false, false),
        (&["127.0.0.1:8080", "*:8081", "!*:8080"], false, true),
        (&["!*:8081", "!*:8082", "*:8083"], false, false),
        (&["*:8081", "!127.0.0.1:8080", "*:8080"], false, true),
        (&["!127.0.0.1:8080", "*:8080"], false, false),
        (&["*:8080", "!127.0.0.1"], false, false),
    ] {
        assert_eq!(matches(texts, "127.0.0.1:8080"), at_8080, "{texts:?}");
        assert_eq!(matches(texts, "127.0.0.1:8081"), at_8081, "{texts:?}");
    }
    let allow_deny = &[
        "!192.168.1.1",
        "!10.1.1.0/16",
        "192.168.1.0/24",
        "2001:0db8::/32",
    ];
    for (endpoint, wanted) in [
        ("192.168.1.2:9", true),
        ("192.168.1.1:9", false),
        ("10.1.9.9:9", false),
        ("192.0.2.1:9", false),
        ("[2001:db8::7]:9", true),
    ] {
        assert_eq!(matches(allow_deny, endpoint), wanted, "{endpoint}");
    }
}

#[test]
fn an_empty_array_of_address_patterns_matches_nothing() {
    assert!(!matches(&[], "127.0.0.1:80"));
    assert!(!matches(&[], "unix"));
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket_is_denied_by_its_ipv4_address() {
    assert!(!matches(&["!10.0.0.0/8"], "[::ffff:10.1.2.3]:9"));
    assert!(matches(&["10.1.2.3"], "[::ffff:10.1.2.3]:9"));
    assert!(matches(&["::ffff:0:0/96"], "[::ffff:10.1.2.3]:9"));
}

#[test]
fn an_invalid_address_pattern_is_refused_with_its_reason() {
    use AddressPatternErrorKind::{Brackets, Ipv4, Ipv6, Port, Prefix, Range, TooShort};
    for (text, wanted) in [
        ("", TooShort),
        ("!", TooShort),
        ("*", TooShort),
        ("127", Ipv4),
        ("256.0.0.1", Ipv4),
        ("127.0.0.", Ipv4),
        (" 127.0.0.1", Ipv4),
        ("127.1", Ipv4),
        ("1..2.3", Ipv4),
        ("010.0.0.1", Ipv4),
        ("300.0.0.0/8", Ipv4),
        ("localhost", Ipv4),
        ("unix:/run/a", Ipv4),
        ("*.0.0.1", Ipv4),
        ("!!10.0.0.1", Ipv4),
        ("10.0.0.1-10.0.0.2/8", Ipv4),
        ("127.0.0.1/", Prefix(32)),
        ("11.0.0.0/33", Prefix(32)),
        ("11.0.0.0/65536", Prefix(32)),
        ("11.0.0.0/+1", Prefix(32)),
        ("2001::/129", Prefix(128)),
        ("11.0.0.0-10.0.0.0", Range),
        ("2001::-2000::", Range),
        ("11.0.0.0:3000-2000", Port),
        ("[2001::]:3000-2000", Port),
        ("127.0.0.1:", Port),
        ("[::1]:", Port),
        ("*:", Port),
        ("*:1-a", Port),
        ("*:8-", Port),
        ("*:-8", Port),
        ("*:+80", Port),
        ("*:65536", Port),
        ("*:80:80", Port),
        ("::FFFFF", Ipv6),
        ("[:::]:8080", Ipv6),
        ("fe80::1%eth0", Ipv6),
        ("127.0.0.1:80:80", Ipv6),
        ("[::1]", Brackets),
        ("[::1]80", Brackets),
    ] {
        assert_eq!(refused(text), wanted, "{text}");
    }
}

#[test]
fn a_message_shows_the_value_and_the_reason() {
    let error = AddressPatterns::new().push("!11.0.0.0/33").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"!11.0.0.0/33\" is not a valid address pattern: the prefix of a network is a number from 0 to 32"
    );
}

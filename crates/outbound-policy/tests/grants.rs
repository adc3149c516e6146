//! What is a grant, how it is written, and what is refused instead.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may, its helpers included"
)]

use outbound_policy::{Grant, GrantErrorKind, HostError};

/// How a text that is a grant is written.
fn canonical(text: &str) -> String {
    let grant = Grant::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let canonical = grant.to_string();
    assert_eq!(canonical.parse(), Ok(grant));
    canonical
}

fn refused(text: &str) -> GrantErrorKind {
    let error = Grant::parse(text).expect_err(text);
    assert_eq!(error.value, text.escape_debug().to_string());
    error.kind
}

#[test]
fn every_form_of_the_grammar_is_a_grant_as_it_stands() {
    for text in [
        "*",
        "http://*",
        "https://*:*",
        "https://*:8443",
        "https://api.example.com",
        "http://api.example.com:8080",
        "http://api.example.com:*",
        "http://*.internal:8080",
        "http://*.internal:*",
        "https://10.0.0.1:8443",
        "http://[::1]:8080",
        "http://localhost",
        "http://my_service:1",
        "http://a:65535",
    ] {
        assert_eq!(canonical(text), text);
    }
}

#[test]
fn spellings_of_one_grant_are_normalised() {
    for (text, wanted) in [
        ("HTTPS://API.Example.COM", "https://api.example.com"),
        ("https://api.example.com.", "https://api.example.com"),
        ("https://api.example.com:443", "https://api.example.com"),
        ("http://api.example.com:443", "http://api.example.com:443"),
        ("http://*.Internal.:80", "http://*.internal"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://*.BÜCHER.example", "http://*.xn--bcher-kva.example"),
        (
            "http://XN--bcher-kva.example",
            "http://xn--bcher-kva.example",
        ),
        ("http://ｅｘａｍｐｌｅ．com", "http://example.com"),
        ("http://[0:0::0001]:80", "http://[::1]"),
        ("http://[FD00::A]", "http://[fd00::a]"),
        ("http://[::ffff:10.0.0.1]", "http://10.0.0.1"),
        ("http://[::ffff:a00:1]", "http://10.0.0.1"),
        ("http://[64:ff9b::a00:1]", "http://10.0.0.1"),
    ] {
        assert_eq!(canonical(text), wanted, "{text}");
    }
}

#[test]
fn a_scheme_has_to_be_one_of_two() {
    for text in [
        "",
        " ",
        "api.example.com",
        "api.example.com:443",
        "*.example.com",
        "//api.example.com",
        "*://api.example.com",
        "ftp://api.example.com",
        "ws://api.example.com",
        " https://api.example.com",
        "https:api.example.com",
        "https:/api.example.com",
        "**",
        "*:80",
    ] {
        assert_eq!(refused(text), GrantErrorKind::Scheme, "{text}");
    }
}

#[test]
fn nothing_follows_the_port() {
    for text in [
        "https://a/",
        "https://a:1/",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://a\\@b",
        "https:///a",
    ] {
        assert_eq!(refused(text), GrantErrorKind::Path, "{text}");
    }
}

#[test]
fn user_info_is_refused() {
    for text in ["https://user@a", "https://user:password@a:1", "https://@a"] {
        assert_eq!(refused(text), GrantErrorKind::UserInfo, "{text}");
    }
}

#[test]
fn a_port_is_a_number_in_range() {
    for text in [
        "http://a:",
        "http://a:0",
        "http://a:00",
        "http://a:080",
        "http://a:65536",
        "http://a:99999999999999999999",
        "http://a:-1",
        "http://a:+80",
        "http://a:8o",
        "http://x:80:80",
        "http://a:**",
        "http://a: 80",
        "http://[::1]80",
    ] {
        assert_eq!(refused(text), GrantErrorKind::Port, "{text}");
    }
}

#[test]
fn a_wildcard_is_a_whole_first_label_of_a_name() {
    for text in [
        "http://a*.example",
        "http://*a.example",
        "http://a.*.example",
        "http://*.*.example",
        "http://example.*",
        "http://**",
    ] {
        assert_eq!(refused(text), GrantErrorKind::Wildcard, "{text}");
    }
    assert_eq!(refused("http://*."), HostError::Empty.into());
    assert_eq!(refused("http://*.."), HostError::EmptyLabel.into());
    assert_eq!(
        refused("http://*.10.0.0.1"),
        GrantErrorKind::WildcardAddress
    );
    assert_eq!(refused("http://*.0.0.1"), HostError::Ipv4.into());
}

#[test]
fn a_host_with_several_readings_is_refused() {
    for (text, reason) in [
        ("http://", HostError::Empty),
        ("http://:80", HostError::Empty),
        ("http://.", HostError::EmptyLabel),
        ("http://a..b", HostError::EmptyLabel),
        ("http://a..", HostError::EmptyLabel),
        ("http://.a", HostError::EmptyLabel),
        ("http://a b", HostError::Character(' ')),
        ("http://a\n", HostError::Character('\n')),
        ("http://a,b", HostError::Character(',')),
        ("http://-a", HostError::Hyphen),
        ("http://a-.b", HostError::Hyphen),
        ("http://%61", HostError::PercentEncoded),
        ("http://127.1", HostError::Ipv4),
        ("http://2130706433", HostError::Ipv4),
        ("http://0177.0.0.1", HostError::Ipv4),
        ("http://0x7f000001", HostError::Ipv4),
        ("http://0X7F.0.0.1", HostError::Ipv4),
        ("http://1.2.3.0x4", HostError::Ipv4),
        ("http://127.0.0.1.", HostError::Ipv4),
        ("http://256.0.0.1", HostError::Ipv4),
        ("http://1.2.3.4.5", HostError::Ipv4),
        ("http://example.1", HostError::Ipv4),
        ("http://[127.0.0.1]", HostError::Ipv6),
        ("http://fd00::1", HostError::Ipv6),
        ("http://::", HostError::Ipv6),
        ("http://[::1", HostError::Ipv6),
        ("http://[]", HostError::Ipv6),
        ("http://[fe80::1%eth0]", HostError::Zone),
        ("http://[fe80::1%25eth0]", HostError::Zone),
    ] {
        assert_eq!(refused(text), reason.into(), "{text}");
    }
    // The digits are those of another script, and spell an address once they are mapped.
    assert_eq!(canonical("http://１０.0.0.1"), "http://10.0.0.1");
    assert_eq!(refused("http://０１７７.0.0.1"), HostError::Ipv4.into());
    assert_eq!(
        refused("http://xn--a\u{fc}.example"),
        GrantErrorKind::International
    );
    for text in ["http://xn--bcher-kvaexample", "http://XN--A.b"] {
        assert_eq!(refused(text), HostError::Punycode.into(), "{text}");
    }
}

#[test]
fn lengths_are_those_of_dns() {
    let label = "a".repeat(63);
    let name = format!("{label}.{label}.{label}.{}", &label[..61]);
    assert_eq!(name.len(), 253);
    canonical(&format!("http://{name}"));
    assert_eq!(
        Grant::parse(&format!("http://{name}a")).unwrap_err().kind,
        HostError::NameLength.into()
    );
    assert_eq!(
        Grant::parse(&format!("http://*.{name}")).unwrap_err().kind,
        HostError::NameLength.into()
    );
    assert_eq!(
        Grant::parse(&format!("http://{label}a.b"))
            .unwrap_err()
            .kind,
        HostError::LabelLength.into()
    );
    let error = Grant::parse(&format!("http://{}", "a".repeat(100_000))).unwrap_err();
    assert_eq!(error.kind, GrantErrorKind::TooLong);
    assert!(error.to_string().len() < 300);
}

#[test]
fn a_message_shows_the_value_and_what_would_be_right() {
    for (text, wanted) in [
        (
            "ftp://\u{1b}[31m",
            "invalid grant \"ftp://\\u{1b}[31m\": it must be \"*\" or start with \"http://\" or \
             \"https://\", as \"https://api.example.com\" does",
        ),
        (
            "https://a/",
            "invalid grant \"https://a/\": it must end after the host or the port, as \
             \"https://api.example.com\" does",
        ),
        (
            "http://127.1",
            "invalid grant \"http://127.1\": an IPv4 address must be four decimal numbers from 0 to \
             255, as in 10.0.0.1",
        ),
        (
            "http://a:0",
            "invalid grant \"http://a:0\": a port is \"*\" or a number from 1 to 65535, as in \
             \"http://*.internal:8080\"",
        ),
    ] {
        assert_eq!(Grant::parse(text).unwrap_err().to_string(), wanted);
    }
}

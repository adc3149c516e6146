//! Where a URI leads, and which ones lead nowhere.

#![expect(clippy::panic, reason = "a test may, its helpers included")]

use outbound_policy::{Destination, DestinationError, HostError};

fn of(text: &str) -> Result<String, DestinationError> {
    let uri = text.parse().unwrap_or_else(|_| panic!("{text} is no URI"));
    Destination::of(&uri).map(|destination| destination.to_string())
}

fn host(text: &str) -> HostError {
    match of(text) {
        Err(DestinationError::Host { reason, .. }) => reason,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_destination_is_written_in_one_way() {
    for (text, wanted) in [
        ("http://example.com", "http://example.com"),
        ("http://example.com:80/a?b", "http://example.com"),
        ("https://example.com:443/", "https://example.com"),
        ("https://example.com:80/", "https://example.com:80"),
        ("HTTP://EXAMPLE.com/", "http://example.com"),
        ("http://example.com./", "http://example.com"),
        ("http://example.com.:81/", "http://example.com:81"),
        (
            "http://XN--BCHER-KVA.example/",
            "http://xn--bcher-kva.example",
        ),
        ("http://10.0.0.1:1/", "http://10.0.0.1:1"),
        ("http://[::1]/", "http://[::1]"),
        ("http://[0000:0:0::1]:81/", "http://[::1]:81"),
        ("http://[::ffff:127.0.0.1]/", "http://127.0.0.1"),
        ("http://[::FFFF:7F00:1]/", "http://127.0.0.1"),
        ("http://[::7f00:1]/", "http://127.0.0.1"),
        (
            "http://[64:ff9b::169.254.169.254]/",
            "http://169.254.169.254",
        ),
        ("http://[2002:7f00:1::]/", "http://127.0.0.1"),
    ] {
        assert_eq!(of(text).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn a_destination_has_a_scheme_and_a_host() {
    assert!(matches!(of("/path"), Err(DestinationError::Scheme(_))));
    assert!(matches!(of("*"), Err(DestinationError::Scheme(_))));
    assert!(matches!(
        of("example.com:80"),
        Err(DestinationError::Scheme(_))
    ));
    for text in [
        "ftp://a/",
        "ws://a/",
        "file://a/",
        "httpss://a/",
        "gopher://a:70/",
    ] {
        assert!(
            matches!(of(text), Err(DestinationError::Scheme(_))),
            "{text}"
        );
    }
    assert_eq!(host("http://:80/"), HostError::Empty);
}

#[test]
fn user_info_is_refused_and_not_repeated() {
    for text in [
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com%40@127.0.0.1/",
        "http://@example.com/",
    ] {
        let Ok(uri) = text.parse() else { continue };
        let error = Destination::of(&uri).unwrap_err();
        assert_eq!(error, DestinationError::UserInfo, "{text}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn a_port_is_a_number_in_range() {
    for text in [
        "http://a:/",
        "http://a:0/",
        "http://a:080/",
        "http://a:65536/",
        "http://a:4294967376/",
        "http://a:+80/",
        "http://[::1]:/",
        "http://[::1]80/",
    ] {
        // Some of these `http` refuses already.
        let Ok(uri) = text.parse() else { continue };
        let error = Destination::of(&uri).unwrap_err();
        assert!(
            matches!(error, DestinationError::Port(_)),
            "{text}: {error}"
        );
    }
}

#[test]
fn ssrf_odd_spellings_of_an_ipv4_address_are_refused() {
    for text in [
        "http://2130706433/",
        "http://017700000001/",
        "http://0x7f000001/",
        "http://0X7F000001/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1./",
        "http://127.0.0.0x1/",
        "http://127.0.0.0x/",
        "http://0/",
        "http://256.256.256.256/",
        "http://1.2.3.4.5/",
        "http://4294967296/",
        "http://example.0x7f/",
    ] {
        assert_eq!(host(text), HostError::Ipv4, "{text}");
    }
}

#[test]
fn ssrf_odd_hosts_are_refused() {
    assert_eq!(host("http://a..b/"), HostError::EmptyLabel);
    assert_eq!(host("http://a../"), HostError::EmptyLabel);
    assert_eq!(host("http://./"), HostError::EmptyLabel);
    assert_eq!(host("http://.a/"), HostError::EmptyLabel);
    assert_eq!(host("http://-a/"), HostError::Hyphen);
    assert_eq!(host("http://xn--a.example/"), HostError::Punycode);
    assert_eq!(host("http://a!b/"), HostError::Character('!'));
    assert_eq!(host("http://*/"), HostError::Character('*'));
    assert_eq!(
        host(&format!("http://{}/", "a".repeat(64))),
        HostError::LabelLength
    );
    assert_eq!(
        host(&format!("http://{}a/", "a.".repeat(127))),
        HostError::NameLength
    );
    for text in [
        "http://%6c%6f%63alhost/",
        "http://127.0.0.1%00/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1/",
        "http://[::g]/",
        "http://[127.0.0.1]/",
        "http://[v1.a]/",
        "http://b\u{fc}cher.example/",
        "http://a b/",
        "http://a\\b/",
    ] {
        if let Ok(uri) = text.parse() {
            assert!(Destination::of(&uri).is_err(), "{text}");
        }
    }
}

//! What proxies say of the clients behind them.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

use http::{HeaderMap, HeaderName, HeaderValue};
use routing::{
    AddressPatterns, Endpoint, Forwarded, Request, Scheme, Target, Template, VariableSet,
};

const CLIENT: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTOCOL: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is believed of those that match `source`.
fn forwarded(source: &[&str], recursive: bool) -> Forwarded {
    let mut patterns = AddressPatterns::new();
    for text in source {
        patterns.push(text).unwrap();
    }
    Forwarded {
        source: patterns,
        client_ip: Some(CLIENT),
        protocol: Some(PROTOCOL),
        recursive,
    }
}

fn endpoint(text: &str) -> Endpoint {
    match text {
        "unix" => Endpoint::Unix,
        address => Endpoint::Ip(address.parse().unwrap()),
    }
}

fn fields(name: &HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// `$remote_addr` of a request from `source`.
fn remote_addr(source: Endpoint) -> String {
    let target = Target::parse(b"/").unwrap();
    let request = Request {
        scheme: Scheme::Http,
        method: "GET",
        host: "",
        target: &target,
        headers: &HeaderMap::new(),
        source,
        destination: Endpoint::Unix,
    };
    let template = Template::parse("$remote_addr", VariableSet::REQUEST).unwrap();
    String::from_utf8(template.expand(&request).into_owned()).unwrap()
}

/// `$remote_addr` of a request from `peer` with these fields.
fn client(forwarded: &Forwarded, peer: &str, values: &[&str]) -> String {
    let headers = fields(&CLIENT, values);
    remote_addr(forwarded.apply(endpoint(peer), Scheme::Http, &headers).0)
}

fn scheme(peer: &str, from: Scheme, values: &[&str]) -> Scheme {
    let headers = fields(&PROTOCOL, values);
    let forwarded = forwarded(&["127.0.0.1"], false);
    forwarded.apply(endpoint(peer), from, &headers).1
}

#[test]
fn the_example_of_units_documentation_is_followed() {
    let values = ["192.0.2.18", "203.0.113.195, 198.51.100.178"];
    let source = ["192.0.2.0/24", "198.51.100.0/24"];
    let plain = forwarded(&source, false);
    assert_eq!(client(&plain, "192.0.2.1:9", &values), "198.51.100.178");
    assert_eq!(client(&plain, "203.0.113.1:9", &values), "203.0.113.1");
    let recursive = forwarded(&source, true);
    assert_eq!(client(&recursive, "192.0.2.1:9", &values), "203.0.113.195");

    let mixed = [
        "198.51.100.1-198.51.100.254",
        "!198.51.100.128/26",
        "203.0.113.195",
    ];
    let mixed = forwarded(&mixed, false);
    for (peer, found) in [
        ("198.51.100.1:9", "1.1.1.1"),
        ("198.51.100.130:9", "198.51.100.130"),
        ("203.0.113.195:9", "1.1.1.1"),
        ("203.0.113.196:9", "203.0.113.196"),
    ] {
        assert_eq!(client(&mixed, peer, &["1.1.1.1"]), found, "{peer}");
    }
}

#[test]
fn the_last_address_of_the_last_field_is_the_client() {
    let forwarded = forwarded(&["127.0.0.1"], false);
    for (values, found) in [
        (&[][..], "127.0.0.1"),
        (&["1.1.1.1"], "1.1.1.1"),
        (&["8.8.8.8, 84.23.23.11"], "84.23.23.11"),
        (&["8.8.8.8, 84.23.23.11, 127.0.0.1"], "127.0.0.1"),
        (&["8.8.8.8", "127.0.0.1, 10.0.1.1"], "10.0.1.1"),
        (&["8.8.8.8 10.0.1.1"], "10.0.1.1"),
        (&["8.8.8.8,10.0.1.1 , ,,"], "10.0.1.1"),
        (&["1.1.1.1:8080"], "1.1.1.1"),
        // Empty fields are skipped.
        (&["1.1.1.1", ""], "1.1.1.1"),
        (&["", ""], "127.0.0.1"),
    ] {
        assert_eq!(
            client(&forwarded, "127.0.0.1:9", values),
            found,
            "{values:?}"
        );
    }
}

#[test]
fn recursive_forwarding_stops_at_the_first_untrusted_address() {
    let forwarded = forwarded(
        &["127.0.0.1", "10.50.0.17", "10.5.2.1", "2001:db8::/32"],
        true,
    );
    for (values, found) in [
        (&["1.1.1.1"][..], "1.1.1.1"),
        (&["1.1.1.1, 10.5.2.1"], "1.1.1.1"),
        (&["8.8.8.8, 1.1.1.1, 10.5.2.1"], "1.1.1.1"),
        (&["8.8.8.8", "1.1.1.1, 127.0.0.1"], "1.1.1.1"),
        (&["8.8.8.8", "1.1.1.1, 127.0.0.1", "10.5.2.1"], "1.1.1.1"),
        (&["10.5.2.1", "10.50.0.17, 1.1.1.1", "10.5.2.1"], "1.1.1.1"),
        (&["8.8.8.8, 2001:db9::1, [2001:db8::1]:80"], "2001:db9::1"),
        // All are believed: the first is the client.
        (&["10.50.0.17, 10.5.2.1, 10.5.2.1"], "10.50.0.17"),
        (&["10.50.0.17", "10.5.2.1"], "10.50.0.17"),
        (&["10.50.0.17"], "10.50.0.17"),
        // What is no address ends the walk with the one before.
        (&["1.1.1.1, unknown, 10.5.2.1"], "10.5.2.1"),
        (&["1.1.1.1", "unknown", "10.5.2.1"], "10.5.2.1"),
        (&["1.1.1.1, unknown"], "127.0.0.1"),
        (&[" , 10.5.2.1"], "10.5.2.1"),
    ] {
        assert_eq!(
            client(&forwarded, "127.0.0.1:9", values),
            found,
            "{values:?}"
        );
    }
}

#[test]
fn text_that_is_not_a_client_address_is_ignored() {
    let forwarded = forwarded(&["127.0.0.1"], false);
    for value in [
        "blah",
        "localhost",
        "unix:",
        "unix:/tmp/x",
        "unix:@x",
        "*",
        "*:80",
        "0.0.0.0",
        "0.0.0.0:80",
        "::",
        "[::]:80",
        "255.255.255.255",
        "1.1.1",
        "1.1.1.1.",
        "1..1.1",
        "01.1.1.1",
        "1.1.1.256",
        "1.1.1.1:",
        "1.1.1.1:0",
        "1.1.1.1:65536",
        "1.1.1.1:+80",
        "1.1.1.1:x",
        "[::1]",
        "[::1]:",
        "[::1]:0",
        "[::1",
        "::1]",
        "[1.1.1.1]:80",
        "::1%lo",
        "fe80::1%25eth0",
        "1:2",
        "::ffff:1.1.1",
        "1.1.1.1/8",
        "for=1.1.1.1",
        "\"1.1.1.1\"",
        "1.1.1.1;",
        "1.1.1.1\u{a0}",
        "８.8.8.8",
        "-1.1.1.1",
        "8.8.8.8,\t1.1.1.1",
        ",",
        " ",
        "0x7f.1",
        "2130706433",
        // Unit, too, takes what stands first for part of the address.
        ",1.1.1.1",
    ] {
        assert_eq!(
            client(&forwarded, "127.0.0.1:9", &[value]),
            "127.0.0.1",
            "{value:?}"
        );
    }
    // Long ones are bounded by the header section, and take their time but once.
    let long = "9".repeat(30_000);
    assert_eq!(client(&forwarded, "127.0.0.1:9", &[&long]), "127.0.0.1");
    let commas = ",".repeat(30_000);
    assert_eq!(client(&forwarded, "127.0.0.1:9", &[&commas]), "127.0.0.1");
}

#[test]
fn ipv6_addresses_are_spelled_as_in_unit() {
    let forwarded = forwarded(&["::1", "unix"], false);
    assert_eq!(client(&forwarded, "127.0.0.1:9", &["1.1.1.1"]), "127.0.0.1");
    for peer in ["[::1]:9", "unix"] {
        for (value, found) in [
            ("1.1.1.1", "1.1.1.1"),
            (
                "f607:7403:1e4b:6c66:33b2:843f:2517:da27",
                "f607:7403:1e4b:6c66:33b2:843f:2517:da27",
            ),
            ("2001:DB8:3c4d:15::1a2f:1a2b", "2001:db8:3c4d:15::1a2f:1a2b"),
            ("2001::3c4d:15:1a2f:1a2b", "2001::3c4d:15:1a2f:1a2b"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::11.22.33.44", "::11.22.33.44"),
            ("::ffff:11.22.33.44", "::ffff:11.22.33.44"),
            ("::b16:212c", "::11.22.33.44"),
            ("::1", "::1"),
            ("::ff", "::ff"),
            ("::102", "::0.0.1.2"),
            ("1:0:3:0:0:6:7:8", "1:0:3::6:7:8"),
            ("1:2:3:0:5:6:7:8", "1:2:3::5:6:7:8"),
            ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7::"),
            ("0:0:3:4:0:0:7:8", "::3:4:0:0:7:8"),
        ] {
            assert_eq!(client(&forwarded, peer, &[value]), found, "{value}");
        }
    }
    assert_eq!(client(&forwarded, "unix", &["blah"]), "unix:");
}

#[test]
fn a_source_pattern_with_ports_compares_the_port() {
    let forwarded = forwarded(&["127.0.0.1", "10.0.0.1:8080"], true);
    let client = |value| client(&forwarded, "127.0.0.1:9", &[value]);
    assert_eq!(client("1.1.1.1, 10.0.0.1:8080"), "1.1.1.1");
    assert_eq!(client("1.1.1.1, 10.0.0.1:8081"), "10.0.0.1");
    // Without one it is 0.
    assert_eq!(client("1.1.1.1, 10.0.0.1"), "10.0.0.1");
}

#[test]
fn no_proxy_is_trusted_by_an_empty_array_and_all_others_by_a_negated_pattern() {
    assert_eq!(
        client(&forwarded(&[], false), "127.0.0.1:9", &["1.1.1.1"]),
        "127.0.0.1"
    );
    let others = forwarded(&["!127.0.0.1"], false);
    assert_eq!(client(&others, "127.0.0.1:9", &["1.1.1.1"]), "127.0.0.1");
    assert_eq!(client(&others, "127.0.0.2:9", &["1.1.1.1"]), "1.1.1.1");
    assert_eq!(client(&others, "unix", &["1.1.1.1"]), "1.1.1.1");
}

#[test]
fn the_forwarded_scheme_is_that_of_the_first_field() {
    use Scheme::{Http, Https};
    for (values, from_http, from_https) in [
        (&[][..], Http, Https),
        (&["https"], Https, Https),
        (&["HTTPS"], Https, Https),
        (&["oN"], Https, Https),
        (&["http"], Http, Http),
        (&["", "https"], Https, Https),
        (&["http", "https"], Http, Http),
        (&["blah", "https"], Http, Https),
        (&["http, https"], Http, Https),
        (&["https,"], Http, Https),
        (&["off"], Http, Https),
        (&["wss"], Http, Https),
        (&["https\u{e9}"], Http, Https),
    ] {
        assert_eq!(scheme("127.0.0.1:9", Http, values), from_http, "{values:?}");
        assert_eq!(
            scheme("127.0.0.1:9", Https, values),
            from_https,
            "{values:?}"
        );
    }
    assert_eq!(scheme("127.0.0.2:9", Http, &["https"]), Http);
}

#[test]
fn without_a_configured_field_the_client_and_scheme_stay() {
    let mut headers = fields(&CLIENT, &["1.1.1.1"]);
    headers.insert(PROTOCOL, HeaderValue::from_static("https"));
    let both = forwarded(&["unix"], false);
    let of = |forwarded: Forwarded| {
        let (source, scheme) = forwarded.apply(Endpoint::Unix, Scheme::Http, &headers);
        (remote_addr(source), scheme)
    };
    assert_eq!(of(both.clone()), ("1.1.1.1".to_owned(), Scheme::Https));
    let without = Forwarded {
        client_ip: None,
        ..both.clone()
    };
    assert_eq!(of(without), ("unix:".to_owned(), Scheme::Https));
    let without = Forwarded {
        protocol: None,
        ..both
    };
    assert_eq!(of(without), ("1.1.1.1".to_owned(), Scheme::Http));
}

//! Selection of a step, and `match` with several tests.

use routing::{Condition, FieldKind, Match, Property, Route, Scheme, Test, VariableSet};

use crate::support::{Sample, object, property};

fn select<'a>(route: &'a Route<&'static str>, sample: &Sample) -> Option<(usize, &'a str)> {
    sample.ask(|request| {
        let found = route.select(request, request);
        found.map(|(index, action)| (index, *action))
    })
}

#[test]
fn the_first_step_that_matches_is_taken() {
    let route = Route::new([
        (Match::new([property(Property::Method, &["GET"])]), "get"),
        (Match::new([property(Property::Uri, &["/a*"])]), "a"),
        (Match::default(), "rest"),
    ]);
    let sample = |method, target: &str| Sample {
        method,
        ..Sample::get(target)
    };
    assert_eq!(select(&route, &sample("GET", "/a")), Some((0, "get")));
    assert_eq!(select(&route, &sample("PUT", "/a")), Some((1, "a")));
    assert_eq!(select(&route, &sample("PUT", "/b")), Some((2, "rest")));
    assert_eq!(route.steps().len(), 3);
}

#[test]
fn no_step_is_selected_if_none_matches() {
    let route = Route::new([(Match::new([property(Property::Method, &["GET"])]), "get")]);
    let put = Sample {
        method: "PUT",
        ..Sample::get("/")
    };
    assert_eq!(select(&route, &put), None);
    assert_eq!(select(&Route::default(), &put), None);
}

/// What is asked first of a step is nothing but a part of its match.
#[test]
fn a_step_is_selected_when_its_match_matches_and_only_then() {
    const URIS: [&[&str]; 16] = [
        &[],
        &["/"],
        &["/*"],
        &["*"],
        &[""],
        &["/a"],
        &["/a*"],
        &["*.php"],
        &["/long/way/to/a", "/long/way/to/b"],
        &["/long/way/to/*", "!/long/way/to/b"],
        &["/long/way/*/a"],
        &["/long/way/to/a", "/short"],
        &["!/a"],
        &["~^/long", "/long/way/to/b"],
        &["%2Flong/way%2Fto/%61"],
        &["/LONG/WAY/TO/A"],
    ];
    const HOSTS: [&[&str]; 6] = [
        &[],
        &["Example.COM"],
        &["*.example.com"],
        &["example.*"],
        &["example.com", "example.org"],
        &["!example.com"],
    ];
    const PATHS: [&str; 8] = [
        "/",
        "/a",
        "/a.php",
        "/short",
        "/long/way/to/a",
        "/long/way/to/b",
        "/long/way/to",
        "/long/way/to/ab",
    ];
    for (uri, host) in URIS.iter().flat_map(|uri| HOSTS.map(|host| (uri, host))) {
        let tests = Match::new([property(Property::Host, host), property(Property::Uri, uri)]);
        let route = Route::new([(tests.clone(), "it")]);
        for path in PATHS {
            for host in ["", "example.com", "www.example.com", "example.org"] {
                let sample = Sample {
                    host,
                    ..Sample::get(path)
                };
                let is_selected = select(&route, &sample).is_some();
                assert_eq!(is_selected, sample.matches(&tests), "{uri:?} {host} {path}");
            }
        }
    }
}

#[test]
fn a_request_has_to_pass_all_tests_of_a_match() {
    let tests = |uri: &str| {
        Match::new([
            Test::Scheme(Scheme::Http),
            property(Property::Host, &["localhost"]),
            property(Property::Method, &["!PUT"]),
            property(Property::Uri, &[uri, "!/b"]),
            Test::Fields(vec![object(
                FieldKind::Argument,
                &[("a", &["1"]), ("b", &["!1"])],
            )]),
            Test::Fields(vec![
                object(FieldKind::Cookie, &[("c", &["1"])]),
                object(FieldKind::Cookie, &[("d", &["1"])]),
            ]),
        ])
    };
    let sample = |target: &str| Sample::get(target).with("cookie", &["d=1"]);
    assert!(sample("/a?a=1&b=2").matches(&tests("/*")));
    assert!(!sample("/b?a=1&b=2").matches(&tests("/*")));
    assert!(!sample("/a?a=1&b=2").matches(&tests("/c")));
    assert!(!sample("/a?a=1").matches(&tests("/*")));
    assert!(!Sample::get("/a?a=1&b=2").matches(&tests("/*")));
}

#[test]
fn an_if_asks_for_variables() {
    let tests = |text| {
        let condition = Condition::parse(text, VariableSet::REQUEST).unwrap();
        Match::new([Test::If(condition), property(Property::Method, &["GET"])])
    };
    for (text, target, wanted) in [
        ("$arg_foo", "/bar?bar", false),
        ("$arg_foo", "/foo_empty?foo", false),
        ("$arg_foo", "/foo?foo=1", true),
        ("!$arg_foo", "/bar?bar", true),
        ("!$arg_foo", "/foo_empty?foo", true),
        ("!$arg_foo", "/foo?foo=1", false),
        ("", "/", false),
        ("1", "/", true),
    ] {
        assert_eq!(
            Sample::get(target).matches(&tests(text)),
            wanted,
            "{text} {target}"
        );
    }
}

//! `forwarded` and `client_ip`.

use http::HeaderName;
use routing::{AddressPatterns, Forwarded};

use super::*;

fn with(members: &str) -> Result<Checked, ConfigError> {
    listener("*:80", &format!(r#""pass":"applications/a%2Fb",{members}"#))
}

fn found(members: &str) -> Vec<Forwarded> {
    with(members).unwrap().config.listeners.remove(0).forwarded
}

fn patterns(texts: &[&str]) -> AddressPatterns {
    let mut patterns = AddressPatterns::new();
    for text in texts {
        patterns.push(text).unwrap();
    }
    patterns
}

#[test]
fn the_fields_and_the_trusted_proxies_are_read() {
    assert_eq!(found(r#""backlog":1"#), []);
    assert_eq!(
        found(
            r#""forwarded":{"client_ip":"X-Forwarded-For","protocol":"X-Forwarded-Proto",
                "recursive":true,"source":["192.0.2.0/24","!192.0.2.1"]}"#
        ),
        [Forwarded {
            source: patterns(&["192.0.2.0/24", "!192.0.2.1"]),
            client_ip: Some(HeaderName::from_static("x-forwarded-for")),
            protocol: Some(HeaderName::from_static("x-forwarded-proto")),
            recursive: true,
        }]
    );
    assert_eq!(
        found(r#""forwarded":{"protocol":"p","source":"unix"}"#),
        [Forwarded {
            source: patterns(&["unix"]),
            client_ip: None,
            protocol: Some(HeaderName::from_static("p")),
            recursive: false,
        }]
    );
    let empty = found(r#""forwarded":{"protocol":"p","source":[]}"#).remove(0);
    assert_eq!(empty.source, AddressPatterns::new());
}

#[test]
fn the_older_form_comes_after_the_newer_one() {
    let older = Forwarded {
        source: patterns(&["127.0.0.1"]),
        client_ip: Some(HeaderName::from_static("x-real-ip")),
        protocol: None,
        recursive: false,
    };
    let members = r#""client_ip":{"header":"X-Real-IP","source":"127.0.0.1"}"#;
    assert_eq!(found(members), std::slice::from_ref(&older));
    let both = found(&format!(
        r#"{members},"forwarded":{{"protocol":"p","source":"unix"}}"#
    ));
    assert_eq!(both.len(), 2);
    assert_eq!(both[1], older);
}

#[test]
fn a_field_and_a_source_are_required() {
    for (members, path, detail) in [
        (
            r#""forwarded":{"source":"127.0.0.1"}"#,
            "/forwarded",
            "The \"forwarded\" object must have either \"client_ip\" or \"protocol\" option set.",
        ),
        (
            r#""forwarded":{}"#,
            "/forwarded",
            "The \"forwarded\" object must have either \"client_ip\" or \"protocol\" option set.",
        ),
        (
            r#""forwarded":{"client_ip":"a"}"#,
            "/forwarded/source",
            "Required parameter \"source\" is missing.",
        ),
        (
            r#""client_ip":{"header":"a"}"#,
            "/client_ip/source",
            "Required parameter \"source\" is missing.",
        ),
        (
            r#""client_ip":{"source":"127.0.0.1"}"#,
            "/client_ip/header",
            "Required parameter \"header\" is missing.",
        ),
        (
            r#""forwarded":{"client_ip":"a","source":null}"#,
            "/forwarded/source",
            "The \"source\" value must be either a string or an array, but not a null.",
        ),
        (
            r#""forwarded":{"client_ip":"a","source":"a"}"#,
            "/forwarded/source",
            "The \"address\" is too short.",
        ),
        (
            r#""forwarded":{"client_ip":"a","source":["127.0.0.1","localhost"]}"#,
            "/forwarded/source/1",
            "The \"address\" format is invalid.",
        ),
        (
            r#""forwarded":{"client_ip":"a","source":"127.0.0.1","recursive":1}"#,
            "/forwarded/recursive",
            "The \"recursive\" value must be a boolean, but not an integer number.",
        ),
        (
            r#""forwarded":{"client_ip":{"header":"a"},"source":"127.0.0.1"}"#,
            "/forwarded/client_ip",
            "The \"client_ip\" value must be a string, but not an object.",
        ),
        (
            r#""client_ip":"x-forwarded-for""#,
            "/client_ip",
            "The \"client_ip\" value must be an object, but not a string.",
        ),
    ] {
        refused(with(members), &format!("/listeners/*:80{path}"), detail);
    }
}

#[test]
fn an_unknown_name_in_forwarded_has_a_suggestion() {
    for (members, unknown, suggestion) in [
        (r#""forwared":{}"#, "forwared", "forwarded"),
        (
            r#""forwarded":{"client_ip":"a","source":"unix","recursve":true}"#,
            "recursve",
            "recursive",
        ),
        (
            r#""client_ip":{"headers":"a","header":"a","source":"unix"}"#,
            "headers",
            "header",
        ),
    ] {
        let error = with(members).unwrap_err();
        assert_eq!(error.detail, format!("Unknown parameter \"{unknown}\"."));
        assert_eq!(error.suggestion, Some(suggestion));
    }
}

#[test]
fn an_invalid_field_name_is_a_warning() {
    for name in ["", "x forwarded", "ä"] {
        let members = format!(
            r#""forwarded":{{"client_ip":"{name}","protocol":"p","source":"unix"}},
               "client_ip":{{"header":"{name}","source":"unix"}}"#
        );
        warned(
            with(&members),
            &[
                "/listeners/*:80/forwarded/client_ip",
                "/listeners/*:80/client_ip/header",
            ],
        );
        assert_eq!(found(&members)[0].client_ip, None);
    }
}

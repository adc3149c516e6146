//! `tls`: certificates, sessions and tickets.

use std::time::Duration;

use certificates::{Tickets, TlsOptions};

use super::*;
use crate::{missing_certificate, uses_certificate};

const SHORT_KEY: &str = "IAMkP16P8OBuqsijSDGKTpmxrzfFNPP4EdRovXH2mqstXsodPC6MqIce5NlMzHLP";
const LONG_KEY: &str = "k5qMHi7IMC7ktrPY3lZ+sL0Zm8oC0yz6re+y/zCj0H0/sGZ7yPBwGcb77i5vw6vCx8vsQDyuvmFb6PZbf03Auj/cs5IHDTYkKIcfbwz6zSU=";

fn tls(text: &str) -> Result<TlsOptions, ConfigError> {
    let checked = listener(
        "*:443",
        &format!(r#""pass":"applications/a%2Fb","tls":{text}"#),
    )?;
    Ok(checked.config.listeners[0].tls.clone().unwrap())
}

fn tree(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}

#[test]
fn a_certificate_is_a_name_or_several() {
    assert_eq!(
        tls(r#"{"certificate":"a"}"#).unwrap(),
        TlsOptions::new(["a"])
    );
    let several = tls(r#"{"certificate":["a","b","a"],"session":{},"conf_commands":{}}"#);
    assert_eq!(several.unwrap(), TlsOptions::new(["a", "b", "a"]));
}

#[test]
fn session_resumption_is_configured_as_in_units_example() {
    let session = |text: &str| tls(&format!(r#"{{"session":{text},"certificate":"a"}}"#));
    let session = |text: &str| session(text).unwrap().session;
    let example = session(&format!(
        r#"{{"cache_size":10240,"timeout":60,"tickets":["{LONG_KEY}","{SHORT_KEY}"]}}"#
    ));
    assert_eq!(example.cache_size, 10240);
    assert_eq!(example.timeout, Duration::from_secs(60));
    assert!(matches!(&example.tickets, Tickets::Keys(keys) if keys.len() == 2));

    let defaults = session("{}");
    assert_eq!(defaults.cache_size, 0);
    assert_eq!(defaults.timeout, Duration::from_secs(300));
    assert_eq!(defaults.tickets, Tickets::Off);
    assert_eq!(session(r#"{"tickets":false}"#).tickets, Tickets::Off);
    assert_eq!(session(r#"{"tickets":true}"#).tickets, Tickets::On);
    let one = session(&format!(r#"{{"tickets":"{SHORT_KEY}"}}"#)).tickets;
    assert!(matches!(one, Tickets::Keys(keys) if keys.len() == 1));
}

#[test]
fn invalid_tls_options_are_refused_with_their_path() {
    let kinds = "must be either a string or an array, but not an integer number.";
    for (text, place, detail) in [
        (
            "{}",
            "/certificate",
            "Required parameter \"certificate\" is missing.",
        ),
        (
            r#"{"certificate":1}"#,
            "/certificate",
            &*format!("The \"certificate\" value {kinds}"),
        ),
        (
            r#"{"certificate":""}"#,
            "/certificate",
            "The \"certificate\" value must not be empty.",
        ),
        (
            r#"{"certificate":[]}"#,
            "/certificate",
            "The \"certificate\" array must contain at least one element.",
        ),
        (
            r#"{"certificate":["a",1]}"#,
            "/certificate/1",
            "The \"certificate\" array must contain only string values.",
        ),
        (
            r#"{"certificate":"a","conf_commands":{"minprotocol":"TLSv1.3"}}"#,
            "/conf_commands",
            "The \"conf_commands\" option is not supported: its commands configure OpenSSL, and this \
             server uses rustls.",
        ),
        (
            r#"{"certificate":"a","session":{"cache_size":-1}}"#,
            "/session/cache_size",
            "The \"cache_size\" number must not be negative.",
        ),
        (
            r#"{"certificate":"a","session":{"timeout":0}}"#,
            "/session/timeout",
            "The \"timeout\" number must be greater than zero.",
        ),
        (
            r#"{"certificate":"a","session":{"tickets":"?"}}"#,
            "/session/tickets",
            "Invalid Base64 format for the ticket key.",
        ),
        (
            r#"{"certificate":"a","session":{"tickets":["abcd"]}}"#,
            "/session/tickets/0",
            "Invalid length 3 of the ticket key.  Must be 48 or 80 bytes.",
        ),
        (
            r#"{"certificate":"a","session":{"tickets":[1]}}"#,
            "/session/tickets/0",
            "The \"key\" array must contain only string values.",
        ),
    ] {
        let error = tls(text).unwrap_err();
        assert_eq!(
            error.path.to_string(),
            format!("/listeners/*:443/tls{place}")
        );
        assert_eq!(error.detail, detail);
    }
    let near = tls(r#"{"certificat":"a","certificate":"a"}"#).unwrap_err();
    assert_eq!(near.suggestion, Some("certificate"));
}

#[test]
fn missing_certificates_are_found_in_the_tree() {
    let root = tree(
        r#"{"listeners":{
            "*:80":{"pass":"applications/a"},
            "*:443":{"tls":{"certificate":"a"}},
            "*:444":{"tls":{"certificate":["a","b","c"]}}
        }}"#,
    );
    for (name, used) in [("a", true), ("c", true), ("d", false), ("", false)] {
        assert_eq!(uses_certificate(&root, name), used, "{name}");
    }
    let missing = |there: &[&str]| missing_certificate(&root, |name| there.contains(&name));
    assert_eq!(missing(&["a", "b", "c"]), None);
    let error = missing(&["a", "c"]).unwrap();
    assert_eq!(error.path.to_string(), "/listeners/*:444/tls/certificate/1");
    assert_eq!(error.detail, "Certificate \"b\" is not found.");
    let error = missing(&["b"]).unwrap();
    assert_eq!(error.path.to_string(), "/listeners/*:443/tls/certificate");
    // Trees that no check has seen.
    for text in [
        "1",
        "{}",
        r#"{"listeners":[]}"#,
        r#"{"listeners":{"a":{"tls":5}}}"#,
    ] {
        assert_eq!(missing_certificate(&tree(text), |_| false), None);
    }
}

//! `listeners`: addresses, `pass` and `backlog`.

use super::*;

#[test]
fn a_listener_passes_to_an_application_that_exists() {
    let pass = |text: &str| listener("*:80", &format!(r#""pass":"{text}""#));
    let found = pass("applications/a%2Fb")
        .unwrap()
        .config
        .listeners
        .remove(0)
        .pass;
    assert_eq!(found, Pass::Application("a/b".to_owned()));
    for nowhere in [
        "applications",
        "applications/x",
        "applications/a%2Fb/t",
        "routes",
        "x",
    ] {
        refused(
            pass(nowhere),
            "/listeners/*:80/pass",
            &format!("Request \"pass\" points to invalid location \"{nowhere}\"."),
        );
    }
    for invalid in [
        "",
        "applications/",
        "/applications",
        "applications/%2",
        "a/b/c/d",
    ] {
        refused(
            pass(invalid),
            "/listeners/*:80/pass",
            &format!("Request \"pass\" value \"{invalid}\" is invalid."),
        );
    }
}

#[test]
fn the_older_form_of_pass_is_accepted() {
    let found = listener("*:80", r#""application":"a/b""#)
        .unwrap()
        .config
        .listeners
        .remove(0);
    assert_eq!(found.pass, Pass::Application("a/b".to_owned()));
    refused(
        listener("*:80", r#""application":"x""#),
        "/listeners/*:80/application",
        "Listening socket is assigned for a non existing application \"x\".",
    );
}

#[test]
fn a_listener_needs_an_address_and_a_pass() {
    refused(
        listener("localhost:80", r#""pass":"applications/a%2Fb""#),
        "/listeners/localhost:80",
        "The listener address \"localhost:80\" is invalid.",
    );
    refused(
        listener("unix:@", r#""pass":"applications/a%2Fb""#),
        "/listeners/unix:@",
        "The listener address \"unix:@\" is invalid.",
    );
    refused(
        listener("*:80", ""),
        "/listeners/*:80/pass",
        "Required parameter \"pass\" is missing.",
    );
    refused(
        check(r#"{"listeners":{"*:80":1}}"#),
        "/listeners/*:80",
        "The \"*:80\" value must be an object, but not an integer number.",
    );
}

#[test]
fn two_addresses_of_the_same_socket_are_refused() {
    refused(
        check(
            r#"{"listeners":{"*:80":{"pass":"applications/a"},"0.0.0.0:80":{"pass":"applications/a"}},
                "applications":{"a":{"type":"wasm","module":"/c"}}}"#,
        ),
        "/listeners/0.0.0.0:80",
        "The listener address \"0.0.0.0:80\" is the same as \"*:80\".",
    );
    refused(
        check(
            r#"{"listeners":{"unix:/a/b":{"pass":"applications/a"},"unix:/a//b":{"pass":"applications/a"}},
                "applications":{"a":{"type":"wasm","module":"/c"}}}"#,
        ),
        "/listeners/unix:~1a~1~1b",
        "The listener address \"unix:/a//b\" is the same as \"unix:/a/b\".",
    );
}

#[test]
fn a_negative_backlog_means_the_default() {
    let backlog = |text: &str| {
        listener(
            "*:80",
            &format!(r#""pass":"applications/a%2Fb","backlog":{text}"#),
        )
    };
    let found = |text: &str| backlog(text).unwrap().config.listeners.remove(0).backlog;
    assert_eq!(found("0"), Some(0));
    assert_eq!(found("1e3"), Some(1000));
    assert_eq!(found("-1"), None);
    refused(
        backlog("-2"),
        "/listeners/*:80/backlog",
        "The \"backlog\" number must be equal to or greater than -1.",
    );
    refused(
        backlog("2147483648"),
        "/listeners/*:80/backlog",
        "The \"backlog\" number must not exceed 2147483647.",
    );
}

#[test]
fn a_listener_may_pass_to_metrics() {
    let checked = listener("*:80", r#""pass":"metrics""#).unwrap();
    assert_eq!(checked.config.listeners[0].pass, Pass::Metrics);
    for pass in ["metrics/a", "Metrics"] {
        refused(
            listener("*:80", &format!(r#""pass":"{pass}""#)),
            "/listeners/*:80/pass",
            &format!("Request \"pass\" points to invalid location \"{pass}\"."),
        );
    }
}

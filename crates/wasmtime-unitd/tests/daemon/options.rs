//! Limits, capabilities and instances: what is refused, and what becomes of requests in flight
//! when they change.

use test_suite::{Running, configuration, until};

use crate::support::Daemon;

#[test]
fn an_invalid_value_of_an_option_is_refused_with_its_path_and_the_valid_ones() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let before = server.get("/config");
    for (member, value, path, words) in [
        (
            "limits",
            r#"{"timeout": -1}"#,
            "/timeout",
            "not be negative",
        ),
        (
            "limits",
            r#"{"timeout": "1"}"#,
            "/timeout",
            "an integer number",
        ),
        (
            "limits",
            r#"{"execution_timeout": 1e9}"#,
            "/execution_timeout",
            "seconds from 0.001 to 4294967, or 0 for no limit",
        ),
        (
            "limits",
            r#"{"memory": 1000}"#,
            "/memory",
            "bytes from 65536 to 17179869184",
        ),
        (
            "limits",
            r#"{"concurrency": 0}"#,
            "/concurrency",
            "requests from 1 to 1000000",
        ),
        (
            "limits",
            r#"{"memory_limit": 65536}"#,
            "",
            "Unknown parameter",
        ),
        (
            "instances",
            r#"{"reuse": 1.5}"#,
            "/reuse",
            "an integer number",
        ),
        (
            "instances",
            r#"{"concurrency": 4}"#,
            "/concurrency",
            r#"less than or equal to \"reuse\""#,
        ),
        (
            "access",
            r#"{"filesystem": ["srv"]}"#,
            "/filesystem/0",
            "must be absolute",
        ),
        (
            "access",
            r#"{"outbound_http": ["*", "api.example.com"]}"#,
            "/outbound_http/1",
            r#"it must be \"*\" or start with \"http://\""#,
        ),
        (
            "access",
            r#"{"outbound_http": ["https://api.example.com/path"]}"#,
            "/outbound_http/0",
            "it must end after the host or the port",
        ),
        ("access", r#"{"network": true}"#, "", "Unknown parameter"),
    ] {
        let path = format!("\"/applications/hello/{member}{path}\"");
        let (status, answer) = server.put(&format!("/config/applications/hello/{member}"), value);
        assert_eq!(status, 400, "{value}: {answer}");
        for word in ["Invalid configuration.", &path, words] {
            assert!(answer.contains(word), "{value}: {word:?} in {answer}");
        }
    }
    assert_eq!(server.get("/config"), before);
    let mut client = server.connect("hello");
    client.get("/").assert_text("Hello, world!\n");
}

#[test]
fn a_misspelt_option_is_answered_with_a_suggestion() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    for (member, value, suggestion) in [
        ("limits", r#"{"execution_timout": 1}"#, "execution_timeout"),
        ("access", r#"{"outbound_htp": []}"#, "outbound_http"),
        ("instances", r#"{"reusee": 1}"#, "reuse"),
    ] {
        let (status, answer) = server.put(&format!("/config/applications/hello/{member}"), value);
        assert_eq!(status, 400, "{answer}");
        let suggestion = format!("\"suggestion\": \"{suggestion}\"");
        assert!(answer.contains(&suggestion), "{answer}");
    }
}

#[test]
fn options_are_returned_by_get_and_survive_a_restart() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    for (member, value) in [
        (
            "limits",
            r#"{"timeout":0,"execution_timeout":0.50,"memory":1e8,"concurrency":3}"#,
        ),
        ("instances", r#"{"reuse":100,"concurrency":10}"#),
        (
            "access",
            r#"{"filesystem":["/usr",{"path":"/usr/share","as":"/data","read_only":true}],"outbound_http":["*"]}"#,
        ),
    ] {
        let path = format!("/config/applications/hello/{member}");
        let (status, answer) = server.put(&path, value);
        assert_eq!(status, 200, "{answer}");
        assert!(!answer.contains("warnings"), "{answer}");
        let compact: String = server.get(&path).split_whitespace().collect();
        assert_eq!(compact, value);
    }
    let before = server.get("/config");
    assert_eq!(server.stop().code(), Some(0));
    server.start_again(&Daemon);
    assert_eq!(server.get("/config"), before);
    let mut client = server.connect("hello");
    client.get("/").assert_text("Hello, world!\n");
}

#[test]
fn requests_in_progress_keep_the_limits_that_they_began_with() {
    let mut server = Running::guests(&Daemon, &["sleep", "echo"]);
    let mut early = server.connect("sleep");
    early.send("GET /?2500 HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut streaming = server.connect("echo");
    streaming.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(streaming.head().status, 200);
    until("both are at work", || {
        server.active("sleep") == "1" && server.active("echo") == "1"
    });

    for (application, value) in [
        ("sleep", r#"{"timeout": 1}"#),
        (
            "echo",
            r#"{"timeout": 1, "execution_timeout": 0.5, "memory": 8388608, "concurrency": 1}"#,
        ),
    ] {
        let path = format!("/config/applications/{application}/limits");
        let (status, answer) = server.put(&path, value);
        assert_eq!(status, 200, "{answer}");
    }
    let instances = r#"{"reuse": 10}"#;
    let (status, answer) = server.put("/config/applications/echo/instances", instances);
    assert_eq!(status, 200, "{answer}");

    let late = server.connect("sleep").get("/?2500");
    late.assert_page(504);
    early.response().assert_text("slept\n");
    streaming.send("5\r\nhello\r\n");
    assert_eq!(streaming.pieces(5), b"hello");
    streaming.send("0\r\n\r\n");
    assert_eq!(streaming.rest().2, test_suite::End::Complete);
}

#[test]
fn options_of_the_unit_module_are_variables_with_a_warning() {
    let mut server = Running::guests(&Daemon, &["environment"]);
    let (status, answer) = server.put(
        "/config/applications/environment/environment",
        r#"{"NXT_WASMTIME_MEMORY": "none"}"#,
    );
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer.contains("warnings") && answer.contains("NGINX Unit"),
        "{answer}"
    );
    let text = "NXT_WASMTIME_MEMORY=none\n";
    server.connect("environment").get("/").assert_text(text);
}

#[test]
fn a_configuration_with_all_options_is_accepted() {
    let members = r#""limits": {"timeout": 30, "execution_timeout": 10, "memory": 268435456,
                                "concurrency": 1000000, "requests": 1},
                     "instances": {"reuse": 1, "concurrency": 1},
                     "access": {"filesystem": [], "outbound_http": []}"#;
    let mut server = Running::idle(&Daemon);
    let configuration = configuration::guests_with(&[("hello", members)]);
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    // Unit's `limits.requests` is the one of them that has no effect.
    let warnings = answer.matches("/applications/hello/").count();
    assert_eq!(warnings, 1, "{answer}");
    let mut client = server.connect("hello");
    client.get("/").assert_text("Hello, world!\n");
}

//! `environment`: what guests see of it, and the module's own options in it.

use test_suite::{Running, configuration};

use crate::support::Unitd;

#[test]
fn a_guest_sees_its_environment_without_the_modules_options() {
    let Some(unitd) = Unitd::here() else { return };
    let members = r#""environment": {
        "B": "2", "NXT_WASMTIME_THREADS": "2", "A": "one = 1",
        "NXT_WASMTIME_TIMEOUT": "5", "NXT_WASMTIME_EXECUTION_TIMEOUT": "0.5",
        "NXT_WASMTIME_MEMORY": "268435456", "NXT_WASMTIME_CONCURRENCY": "8",
        "NXT_WASMTIME_INSTANCES": "{\"reuse\": 1, \"concurrency\": 1}",
        "NXT_WASMTIME_OUTBOUND_HTTP": " https://a.example  http://*.internal:8080",
        "NXT_WASMTIME_RESPONSE_TIMEOUT": "60", "WASMTIME": "seen"
    }"#;
    let configuration = configuration::guests_with(&[("environment", members)]);
    let server = Running::start(&unitd, &configuration);
    let text = "A=one = 1\nB=2\nWASMTIME=seen\n";
    server.connect("environment").get("/").assert_text(text);
}

#[test]
fn an_option_that_is_wrong_is_named_and_the_application_does_not_start() {
    let Some(unitd) = Unitd::here() else { return };
    let mut server = Running::guests(&unitd, &["hello"]);
    for (name, value) in [
        ("NXT_WASMTIME_THREADS", "0"),
        ("NXT_WASMTIME_THREADS", "many"),
        ("NXT_WASMTIME_TIMEOUT", "-1"),
        ("NXT_WASMTIME_TIMEOUT", "soon"),
        ("NXT_WASMTIME_MEMORY", "1G"),
        ("NXT_WASMTIME_EXECUTION_TIMEOUT", "1m"),
        ("NXT_WASMTIME_CONCURRENCY", "0"),
        ("NXT_WASMTIME_INSTANCES", "100"),
        ("NXT_WASMTIME_OUTBOUND_HTTP", "a.example"),
        ("NXT_WASMTIME_TREADS", "3"),
    ] {
        let before = server.log().len();
        let members = format!(r#""environment": {{"{name}": "{value}"}}"#);
        let configuration = configuration::guests_with(&[("environment", &members)]);
        let (status, answer) = server.put("/config", &configuration);
        assert_eq!(status, 500, "{name}={value}: {answer}");
        assert!(answer.contains("\"error\""), "{answer}");
        let log = server.log().split_off(before);
        let is_named = |line: &&str| {
            line.contains(name) && (line.contains(&format!("{value:?}")) || name.contains("TREADS"))
        };
        assert!(
            log.lines().any(|line| is_named(&line)),
            "{name}={value}: {log}"
        );
        let mut client = server.connect("hello");
        client.get("/").assert_text("Hello, world!\n");
    }
}

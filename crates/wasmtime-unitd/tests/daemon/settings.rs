//! `settings.http`.

use std::fs;
use std::time::{Duration, Instant};

use test_suite::{Running, configuration, until};

use crate::support::{Daemon, routed};

/// A daemon with these settings, an application that counts bytes, and routes that do not read them.
fn with(http: &str) -> Running {
    let file = test_components::guest("count");
    let mut server = Running::idle(&Daemon);
    let (status, answer) = server.put(
        "/config",
        &format!(
            r#"{{"settings": {{"http": {http}}},
                "listeners": {{"{{main}}": {{"pass": "routes"}}, "{{app}}": {{"pass": "applications/count"}}}},
                "routes": [{{"match": {{"headers": {{"a_b": "*"}}}}, "action": {{"return": 201}}}},
                           {{"match": {{"headers": {{"a-b": "*"}}}}, "action": {{"return": 202}}}},
                           {{"action": {{"return": 204, "rewrite": "/x$uri"}}}}],
                "applications": {{"count": {}}}}}"#,
            configuration::application(&file, "")
        ),
    );
    assert_eq!(status, 200, "{answer}");
    server
}

#[test]
fn a_body_that_is_too_large_is_a_413_and_closes_the_connection() {
    let server = with(r#"{"max_body_size": 10}"#);
    for listener in ["main", "app"] {
        let mut client = server.connect(listener);
        assert!(client.post("/", "0123456789").head.status < 300);
        let response = client.post("/", "0123456789a");
        response.assert_page(413);
        assert_eq!(response.head.field("connection"), Some("close"));
        client.closed();
    }
    // Where the length is not known before.
    let mut client = server.connect("app");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n");
    client.response().assert_page(413);
}

#[test]
fn a_body_may_have_eight_mebibytes_by_default() {
    let mut server = with("{}");
    let length = (8 << 20) + 1;
    let ask = |server: &Running| {
        let mut client = server.connect("app");
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"
        ));
        let _ = client.try_send(vec![b'a'; length]);
        client.response()
    };
    ask(&server).assert_page(413);
    let path = "/config/settings/http/max_body_size";
    assert_eq!(server.put(path, &length.to_string()).0, 200);
    ask(&server).assert_text(&format!("{length}\n"));
}

#[test]
fn fields_with_unsafe_names_are_dropped_by_default() {
    let mut server = with("{}");
    let status = |server: &Running, field: &str| {
        let mut client = server.connect("main");
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{field}: 1\r\n\r\n"));
        client.response().head.status
    };
    assert_eq!((status(&server, "a_b"), status(&server, "a-b")), (204, 202));
    let path = "/config/settings/http/discard_unsafe_fields";
    assert_eq!(server.put(path, "false").0, 200);
    assert_eq!((status(&server, "a_b"), status(&server, "a-b")), (201, 202));
}

#[test]
fn server_version_hides_the_version() {
    let mut server = with("{}");
    let name = |server: &Running| {
        let head = server.connect("main").get("/").head;
        head.field("server").unwrap().to_owned()
    };
    assert!(name(&server).starts_with("wasmtime-unitd/"));
    let path = "/config/settings/http/server_version";
    assert_eq!(server.put(path, "false").0, 200);
    assert_eq!(name(&server), "wasmtime-unitd");
}

#[test]
fn log_route_logs_how_a_request_is_routed() {
    let server = with(r#"{"log_route": true}"#);
    assert_eq!(server.connect("main").get("/a?b").head.status, 204);
    until("it is logged", || server.log().contains("URI rewritten"));
    let log = server.log();
    for line in [
        "http request line \"GET /a?b HTTP/1.1\"",
        "\"routes/2\" selected",
        "URI rewritten to \"/x/a\"",
    ] {
        let found = log.lines().find(|it| it.ends_with(line));
        let found = found.unwrap_or_else(|| panic!("{line} in {log}"));
        assert!(found.contains(" [notice] request "), "{found}");
    }
    assert!(log.contains("\"routes/1\" discarded"), "{log}");
    let mut server = with("{}");
    assert_eq!(server.connect("main").get("/a?b").head.status, 204);
    // All of the log is written when it has stopped.
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(server.log_lines("[notice]"), [""; 0]);
}

#[test]
fn timeouts_of_slow_clients_are_answered_with_408() {
    let server = with(r#"{"header_read_timeout": 1, "idle_timeout": 2, "body_read_timeout": 1}"#);
    let mut client = server.connect("main");
    client.send("GET / HTTP/1.1\r\nhost: ");
    client.response().assert_page(408);
    client.closed();

    let mut client = server.connect("app");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1");
    client.response().assert_page(408);

    let mut client = server.connect("main");
    assert_eq!(client.get("/").head.status, 204);
    let begun = Instant::now();
    client.response().assert_page(408);
    assert!(begun.elapsed() > Duration::from_millis(1500));
    client.closed();
}

#[test]
fn mime_types_are_added_to_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.css"), "a").unwrap();
    fs::write(folder.path().join("Makefile"), "b").unwrap();
    let share = format!(
        r#"[{{"action": {{"share": "{}$uri"}}}}]"#,
        folder.path().display()
    );
    let mut server = routed(&share);
    let settings = r#"{"http": {"static": {"mime_types":
        {"text/x-code": ["makefile", ".c"], "text/plain": ".css"}}}}"#;
    assert_eq!(server.put("/config/settings", settings).0, 200);
    let mut client = server.connect("main");
    let mut kind = |target| {
        client
            .get(target)
            .head
            .field("content-type")
            .map(str::to_owned)
    };
    assert_eq!(kind("/a.css").as_deref(), Some("text/plain"));
    assert_eq!(kind("/Makefile").as_deref(), Some("text/x-code"));
}

#[test]
fn an_option_without_effect_is_a_warning() {
    let mut server = with("{}");
    let (status, answer) = server.put(
        "/config/settings",
        r#"{"http": {"body_buffer_size": 1024, "body_temp_path": "/tmp",
            "chunked_transform": true, "large_header_buffers": 4}}"#,
    );
    assert_eq!(status, 200, "{answer}");
    for path in [
        "/settings/http/body_buffer_size",
        "/settings/http/body_temp_path",
        "/settings/http/large_header_buffers",
    ] {
        assert!(answer.contains(path), "{path} in {answer}");
    }
    assert!(!answer.contains("chunked_transform"), "{answer}");
}

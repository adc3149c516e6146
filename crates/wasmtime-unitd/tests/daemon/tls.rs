//! TLS on a listener: who is presented what, what is spoken then, and what changes under a
//! connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::signal::Signal;
use test_suite::{Client, DEADLINE, End, NoAnswer, Running, configuration, curl, has_curl, until};

use crate::peer::{Pair, has_openssl, listener, s_client, start};
use crate::support::Daemon;

const ONE: &str = r#"{"certificate": "one"}"#;

fn localhost() -> Pair {
    Pair::new(&["localhost"])
}

#[test]
fn guests_answer_over_tls_in_http_1_and_2() {
    let pair = localhost();
    let server = start("headers", ONE, &[("one", &pair)]);
    let mut client = pair.connect(server.address("headers"), "localhost");
    let first = client.get("/path?query").text().to_owned();
    assert!(
        first.starts_with("GET https localhost /path?query\n"),
        "{first}"
    );
    if !has_curl() {
        return;
    }
    let file = pair.file(&server, "one").display().to_string();
    let port = server.address("headers").port();
    let url = format!("https://localhost:{port}/x");
    for (flag, version) in [("--http1.0", "1"), ("--http1.1", "1.1"), ("--http2", "2")] {
        let output = curl([
            flag,
            "--ipv4",
            "--cacert",
            &file,
            "--write-out",
            "%{http_version}",
            &url,
        ]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(text.starts_with("GET https localhost /x\n"), "{text}");
        assert!(text.ends_with(&format!("\n{version}")), "{text}");
    }
}

#[test]
fn bodies_over_tls_are_complete_in_both_directions() {
    if !has_curl() {
        return;
    }
    let pair = localhost();
    let server = start("echo", ONE, &[("one", &pair)]);
    let file = pair.file(&server, "one").display().to_string();
    let sent = server.directory().join("sent");
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(&sent, &content).unwrap();
    let port = server.address("echo").port();
    for flag in ["--http1.1", "--http2"] {
        let output = curl([
            flag,
            "--ipv4",
            "--cacert",
            &file,
            "--data-binary",
            &format!("@{}", sent.display()),
            &format!("https://localhost:{port}/"),
        ]);
        assert!(output.status.success(), "{:?}", output.status);
        assert!(output.stdout == content, "{} bytes", output.stdout.len());
    }
}

#[test]
fn the_protocol_is_chosen_by_alpn() {
    if !has_openssl() {
        return;
    }
    let pair = localhost();
    let server = start("hello", ONE, &[("one", &pair)]);
    let said =
        |arguments: &[&str]| s_client(server.address("hello"), server.directory(), arguments);
    for (offered, chosen) in [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("http/1.0", "ALPN protocol: http/1.0"),
        ("spdy/3", "no application protocol"),
    ] {
        let said = said(&["-alpn", offered]);
        assert!(said.contains(chosen), "{offered}: {said}");
    }
    assert!(said(&[]).contains("No ALPN negotiated"));
    assert!(said(&["-tls1_3"]).contains("TLSv1.3"));
    assert!(said(&["-tls1_2"]).contains("TLSv1.2"));
    assert!(!said(&["-tls1_1"]).contains("BEGIN CERTIFICATE"));
}

#[test]
fn sni_selects_the_certificate_for_the_name() {
    if !has_openssl() {
        return;
    }
    let [first, second, wild] = [
        Pair::new(&["first.example"]),
        Pair::new(&["second.example"]),
        Pair::new(&["wild.example", "*.example"]),
    ];
    let server = start(
        "hello",
        r#"{"certificate": ["first", "second", "wild"]}"#,
        &[("first", &first), ("second", &second), ("wild", &wild)],
    );
    for (name, subject) in [
        ("first.example", "first.example"),
        ("second.example", "second.example"),
        ("SECOND.example", "second.example"),
        ("other.example", "wild.example"),
        ("a.other.example", "first.example"),
        ("unknown.org", "first.example"),
        ("", "first.example"),
    ] {
        let arguments: &[&str] = match name {
            "" => &["-noservername"],
            name => &["-servername", name],
        };
        let said = s_client(server.address("hello"), server.directory(), arguments);
        let subject = format!("subject=CN = {subject}\n");
        assert!(said.contains(&subject), "{name}: {said}");
    }
    let mut client = second.connect(server.address("hello"), "second.example");
    client.get("/").assert_text("Hello, world!\n");
    assert!(
        second
            .try_connect(server.address("hello"), "first.example")
            .is_err()
    );
}

#[test]
fn a_certificate_is_replaced_while_connections_are_open() {
    let (old, new) = (localhost(), localhost());
    let mut server = start("hello", ONE, &[("one", &old)]);
    let address = server.address("hello");
    let mut before = old.connect(address, "localhost");
    before.get("/").assert_text("Hello, world!\n");

    let mut request =
        Client::over(std::os::unix::net::UnixStream::connect(server.control_socket()).unwrap());
    let bundle = new.bundle();
    request.send(format!(
        "PUT /certificates/one HTTP/1.1\r\nhost: a\r\nif-match: *\r\ncontent-length: {}\r\n\r\n{bundle}",
        bundle.len()
    ));
    request
        .response()
        .assert_text("{\r\n\t\"success\": \"Certificate chain uploaded.\"\r\n}\r\n");
    before.get("/").assert_text("Hello, world!\n");
    let mut after = new.connect(address, "localhost");
    after.get("/").assert_text("Hello, world!\n");
    assert!(old.try_connect(address, "localhost").is_err());

    // And in Unit's way, by another name.
    old.upload(&server, "two");
    let path = format!("/config/listeners/{address}/tls/certificate");
    assert_eq!(server.put(&path, "\"two\"").0, 200);
    before.get("/").assert_text("Hello, world!\n");
    after.get("/").assert_text("Hello, world!\n");
    let mut last = old.connect(address, "localhost");
    last.get("/").assert_text("Hello, world!\n");
    assert_eq!(server.control("DELETE", "/certificates/one", "").0, 200);

    // After TLS is removed from the listener, open connections keep it.
    let plain = configuration::listener("hello");
    let path = format!("/config/listeners/{address}");
    assert_eq!(server.put(&path, &plain).0, 200);
    last.get("/").assert_text("Hello, world!\n");
    let mut without = server.connect("hello");
    without.get("/").assert_text("Hello, world!\n");
    // That of the client that trusts the old one only.
    assert_eq!(server.get("/status/connections/closed"), "1");
}

#[test]
fn tls_sessions_outlive_changes_of_all_but_their_options() {
    if !has_openssl() {
        return;
    }
    let (old, new) = (localhost(), localhost());
    for session in [r#"{"tickets": true}"#, r#"{"cache_size": 100}"#] {
        let tls = format!(r#"{{"certificate": "one", "session": {session}}}"#);
        let mut server = start("hello", &tls, &[("one", &old)]);
        let address = server.address("hello");
        let said = |arguments: &[&str]| s_client(address, server.directory(), arguments);
        let first = said(&["-tls1_2", "-sess_out", "session"]);
        assert!(first.contains("New, TLSv1.2"), "{first}");
        let again = said(&["-tls1_2", "-sess_in", "session"]);
        assert!(again.contains("Reused, TLSv1.2"), "{session}: {again}");

        let change = server.put(
            "/config/listeners/{another}",
            &configuration::listener("hello"),
        );
        assert_eq!(change.0, 200);
        assert_eq!(server.control("DELETE", "/certificates/one", "").0, 400);
        new.upload(&server, "two");
        let said = |arguments: &[&str]| s_client(address, server.directory(), arguments);
        let again = said(&["-tls1_2", "-sess_in", "session"]);
        assert!(again.contains("Reused, TLSv1.2"), "{session}: {again}");
        // Other options are another beginning.
        let path = format!("/config/listeners/{address}/tls/certificate");
        assert_eq!(server.put(&path, "\"two\"").0, 200);
        let said = |arguments: &[&str]| s_client(address, server.directory(), arguments);
        let again = said(&["-tls1_2", "-sess_in", "session"]);
        assert!(again.contains("New, TLSv1.2"), "{session}: {again}");
    }
}

#[test]
fn slow_tls_handshakes_and_garbage_do_not_affect_other_clients() {
    let pair = localhost();
    let mut server = start("hello", ONE, &[("one", &pair)]);
    let address = server.address("hello");
    let mut slow = Vec::new();
    for length in 0..40 {
        let mut socket = TcpStream::connect(address).unwrap();
        let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        socket.write_all(&hello[..length % hello.len()]).unwrap();
        slow.push(socket);
    }
    for garbage in [
        &b"\x16\x03\x01\0\x05\x01\0\0\x01\0"[..],
        b"\r\n\r\n",
        &[0xff; 9000],
    ] {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        // The answer may come before all is sent.
        let _ = socket.write_all(garbage);
        let mut received = Vec::new();
        let _ = socket.read_to_end(&mut received);
        assert!(received.len() <= 7, "{received:?}");
    }
    let begun = Instant::now();
    for _ in 0..5 {
        let mut client = pair.connect(address, "localhost");
        client.get("/").assert_text("Hello, world!\n");
    }
    assert!(begun.elapsed() < DEADLINE);
    // Strangers' mistakes are not in the log, all of which is written when the server has stopped.
    assert_eq!(server.stop().code(), Some(0));
    let log = server.log();
    assert!(!log.contains("[warn]") && !log.contains("[error]"), "{log}");
}

#[test]
fn plain_http_on_a_tls_listener_is_a_400_and_tls_without_http_is_closed() {
    let pair = localhost();
    let server = start("hello", ONE, &[("one", &pair)]);
    let response = server.connect("hello").get("/");
    response.assert_page(400);
    assert_eq!(response.head.field("connection"), Some("close"));
    let text = String::from_utf8(response.raw).unwrap();
    let line = "HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n";
    assert!(text.starts_with(line), "{text}");

    let mut client = pair.connect(server.address("hello"), "localhost");
    client.send("\x16\x03\x01 / HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().head.status, 400);
    assert_eq!(client.closed(), NoAnswer::Closed);
    assert_eq!(server.get("/status/requests/total"), "0");
}

#[test]
fn over_tls_a_truncated_response_is_visibly_incomplete() {
    let pair = localhost();
    let server = start("trap_after_headers", ONE, &[("one", &pair)]);
    let address = server.address("trap_after_headers");
    for (version, end) in [("1.0", End::Reset), ("1.1", End::Reset)] {
        let mut client = pair.connect(address, "localhost");
        client.send(format!("GET /?50 HTTP/{version}\r\nhost: a\r\n\r\n"));
        let response = client.response();
        assert_eq!(
            (response.text(), response.end),
            ("partial", end),
            "{version}"
        );
        let mut client = pair.connect(address, "localhost");
        client.send(format!(
            "GET /?50&finished HTTP/{version}\r\nhost: a\r\nconnection: close\r\n\r\n"
        ));
        let response = client.response();
        assert_eq!((response.text(), response.end), ("partial", End::Complete));
        assert_eq!(client.closed(), NoAnswer::Closed, "{version}");
    }
}

#[test]
fn a_graceful_shutdown_over_tls_finishes_requests_and_notifies_idle_clients() {
    let pair = localhost();
    let mut server = start("sleep", ONE, &[("one", &pair)]);
    let address = server.address("sleep");
    let mut idle = pair.connect(address, "localhost");
    idle.get("/").assert_text("slept\n");
    let mut busy = pair.connect(address, "localhost");
    busy.send("GET /?500 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is at work", || server.active("sleep") == "1");
    server.signal(Signal::SIGTERM);
    assert_eq!(idle.closed(), NoAnswer::Closed);
    busy.response().assert_text("slept\n");
    assert_eq!(busy.closed(), NoAnswer::Closed);
    assert_eq!(server.wait(DEADLINE).code(), Some(0));
}

#[test]
fn changes_of_tls_listeners_cost_no_request() {
    let pairs = [localhost(), localhost()];
    let mut server = start("hello", ONE, &[("one", &pairs[0]), ("two", &pairs[1])]);
    let address = server.address("hello");
    let mut kept = pairs[0].connect(address, "localhost");
    let path = format!("/config/listeners/{address}");
    for round in 0..10 {
        let (name, pair) = [("one", &pairs[0]), ("two", &pairs[1])][round % 2];
        let tls = format!(r#"{{"certificate": "{name}"}}"#);
        assert_eq!(server.put(&path, &listener("hello", &tls)).0, 200);
        kept.get("/").assert_text("Hello, world!\n");
        let mut new = pair.connect(address, "localhost");
        new.get("/").assert_text("Hello, world!\n");
    }
}

#[test]
fn tls_options_that_rustls_lacks_are_refused_by_name() {
    let pair = localhost();
    let mut server = Running::guests(&Daemon, &["hello"]);
    pair.upload(&server, "one");
    let tls = r#"{"certificate": "one", "conf_commands": {"minprotocol": "TLSv1.3"}}"#;
    let path = format!("/config/listeners/{}", server.address("hello"));
    let (status, answer) = server.put(&path, &listener("hello", tls));
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("this server uses rustls"), "{answer}");
    assert!(answer.contains("/tls/conf_commands"), "{answer}");
}

#[test]
fn routes_match_the_scheme() {
    let pair = localhost();
    let mut server = start("hello", ONE, &[("one", &pair)]);
    let routes = r#"[
        {"match": {"scheme": "https"}, "action": {"pass": "applications/hello"}},
        {"action": {"return": 301, "location": "https://localhost$request_uri"}}
    ]"#;
    assert_eq!(server.put("/config/routes", routes).0, 200);
    let secure = format!("/config/listeners/{}/pass", server.address("hello"));
    assert_eq!(server.put(&secure, r#""routes""#).0, 200);
    let plain = r#"{"pass": "routes"}"#;
    assert_eq!(server.put("/config/listeners/{plain}", plain).0, 200);
    let mut client = pair.connect(server.address("hello"), "localhost");
    client.get("/a").assert_text("Hello, world!\n");
    let response = server.connect("plain").get("/a?b");
    assert_eq!(response.head.status, 301);
    let location = response.head.field("location");
    assert_eq!(location, Some("https://localhost/a?b"));
}

//! What RFC 9112 says a server must refuse is refused, and nothing after it is taken for a
//! request.

use std::sync::Arc;

use test_suite::{Client, NoAnswer, Running};

use crate::support::Daemon;

/// What an attacker would have behind a request that two servers read differently.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// The status of the one response, `None` if there was none. The connection has ended then.
#[track_caller]
fn status(server: &Running, request: &[u8]) -> Option<u16> {
    let mut client = Client::connect(server.address("count"));
    // It may be refused before all of it was taken.
    let _ = client.try_send(request);
    let (text, _) = client.everything();
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.matches("HTTP/1.").count() <= 1,
        "two responses: {text}"
    );
    let line = text.lines().next()?;
    line.split(' ').nth(1).map(|status| status.parse().unwrap())
}

/// Checks that the request gets the status, and that nothing after it gets an answer.
#[track_caller]
fn assert_refused(server: &Running, request: &str, wanted: u16) {
    let request = format!("{request}{SMUGGLED}");
    assert_eq!(
        status(server, request.as_bytes()),
        Some(wanted),
        "{request:?}"
    );
    assert_eq!(server.log_lines("panic"), [""; 0]);
}

fn server() -> Arc<Running> {
    Running::shared(&Daemon, &["count"])
}

#[test]
fn a_request_of_http_1_1_names_exactly_one_host() {
    let server = server();
    for fields in [
        "",
        "x: y\r\n",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nhost: b\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_refused(&server, &request, 400);
    }
}

#[test]
fn a_host_is_a_name_and_perhaps_a_port() {
    let server = server();
    for host in [
        "a b",
        "a/b",
        "a@b",
        "user:pw@a",
        "a:x",
        "a:80:80",
        "a:99999",
        "a:65536",
        ":80",
        "@a",
        "a:-1",
        "[::1",
        "[]",
        "a\\b",
        "a%00b",
        "a?b",
        "a#b",
        "a\"b",
        "<a>",
        "\u{e4}",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_refused(&server, &request, 400);
    }
    for host in [
        "a",
        "A.example",
        "a:80",
        "a:0",
        "a:65535",
        "a:",
        "[::1]:80",
        "127.0.0.1",
        "",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&server, request.as_bytes()), Some(200), "{host}");
    }
}

#[test]
fn a_content_length_is_one_number() {
    let server = server();
    for length in [
        "-1",
        "+5",
        "5x",
        "0x5",
        "5 5",
        "5,6",
        "",
        "1e1",
        "5.0",
        "99999999999999999999999",
        "\u{665}",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        assert_refused(&server, &request, 400);
    }
    let conflicting =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n";
    assert_refused(&server, conflicting, 400);
}

#[test]
fn a_transfer_coding_ends_in_chunked() {
    let server = server();
    for coding in [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, identity",
        "xchunked",
        "chunked;a",
        "\u{b}chunked",
        "",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {coding}\r\n\r\n");
        assert_refused(&server, &request, 400);
    }
    let old = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(&server, old, 400);
}

#[test]
fn a_coding_below_the_chunks_is_not_implemented() {
    let server = server();
    for coding in ["gzip, chunked", "chunked, chunked"] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        assert_eq!(status(&server, request.as_bytes()), Some(501), "{coding}");
    }
    server.connect("count").get("/").assert_text("0\n");
}

#[test]
fn a_chunk_has_a_size_in_hexadecimal_and_an_end() {
    let server = server();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "x\r\n",
        "-1\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "0\r\nbad name: x\r\n\r\n",
    ] {
        assert_refused(&server, &format!("{head}{body}"), 400);
    }
}

#[test]
fn a_field_is_a_name_a_colon_and_a_value() {
    let server = server();
    for field in [
        "x : y",
        "x\t: y",
        "bad name: y",
        ": y",
        "no colon",
        "x: a\0b",
        "x: a\rb",
        "x: a\x08b",
        "x: a\x7fb",
        "x: a\r\n folded",
        "x: a\r\n\tfolded",
        "(x): y",
        "\u{e4}: y",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n");
        assert_refused(&server, &request, 400);
        // Nor as the first field, where there is no line that a fold could continue.
        let request = format!("GET / HTTP/1.1\r\n{field}\r\nhost: a\r\n\r\n");
        assert_refused(&server, &request, 400);
    }
    let request = "GET / HTTP/1.1\r\n host: a\r\nhost: a\r\n\r\n";
    assert_refused(&server, request, 400);
}

#[test]
fn a_request_line_has_three_parts() {
    let server = server();
    for line in [
        "GET /",
        "GET",
        "GET  / HTTP/1.1",
        "GET / x HTTP/1.1",
        "GET x HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "G\0ET / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /#fragment HTTP/1.1 x",
        "GET http:// HTTP/1.1",
        "GET http://user@a/ HTTP/1.1",
        "GET http://user:pw@a/ HTTP/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11",
        "GET / http/1.1",
        "GET / ICY/1.1",
        "hello",
    ] {
        let request = format!("{line}\r\nhost: a\r\n\r\n");
        assert_refused(&server, &request, 400);
    }
}

#[test]
fn an_unknown_major_version_is_a_505() {
    let server = server();
    for version in ["HTTP/3.0", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9"] {
        let request = format!("GET / {version}\r\nhost: a\r\n\r\n{SMUGGLED}");
        let status = status(&server, request.as_bytes());
        assert_eq!(status, Some(505), "{version}");
    }
}

#[test]
fn connect_is_a_501() {
    let server = server();
    for target in ["a:443", "/", "http://a/"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut client = server.connect("count");
        client.send(format!("{request}{SMUGGLED}"));
        let response = client.response();
        assert!(matches!(response.head.status, 501 | 400), "{response:?}");
        client.everything();
    }
    let mut client = server.connect("count");
    client.send("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n");
    client.response().assert_page(501);
}

#[test]
fn too_many_or_too_large_fields_are_a_431() {
    let server = server();
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    assert_eq!(status(&server, request.as_bytes()), Some(431));
    let large = "x".repeat(100_000);
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {large}\r\n\r\n");
    assert_eq!(status(&server, request.as_bytes()), Some(431));
    let request = format!("GET /{large} HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(matches!(
        status(&server, request.as_bytes()),
        Some(414 | 431)
    ));
    // What fits is taken.
    let request = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\nconnection: close\r\n\r\n",
        "x".repeat(20_000)
    );
    assert_eq!(status(&server, request.as_bytes()), Some(200));
}

#[test]
fn request_smuggling_two_framings_at_once_are_one_request_at_most() {
    let server = server();
    for fields in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "transfer-encoding: chunked\r\ncontent-length: 100000",
    ] {
        let body = "0\r\n\r\n";
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}{SMUGGLED}");
        // A proxy in front may have taken the rest for the body (RFC 9112, section 6.3).
        let status = status(&server, request.as_bytes());
        assert!(matches!(status, None | Some(200 | 400)), "{status:?}");
    }
}

#[test]
fn an_incomplete_request_is_not_answered_as_if_it_were_complete() {
    let server = server();
    for half in [
        "",
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n",
    ] {
        let mut client = server.connect("count");
        client.send(half);
        client.socket().shutdown(std::net::Shutdown::Write).unwrap();
        let (text, end) = client.everything();
        assert_eq!(end, NoAnswer::Closed);
        let text = String::from_utf8_lossy(&text);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400"),
            "{text}"
        );
    }
    server.connect("count").get("/").assert_text("0\n");
}

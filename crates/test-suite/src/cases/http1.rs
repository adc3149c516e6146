//! Messages of HTTP/1 as the guests and the clients see them.

use std::sync::Arc;

use test_components::World;

use crate::{End, FrontEnd, Need, Options, Running, configuration};

fn server(front: &impl FrontEnd) -> Arc<Running> {
    Running::shared(
        front,
        &[
            "count", "download", "early", "echo", "headers", "hello", "status", "trap",
        ],
    )
}

pub fn a_guest_sees_the_request_as_it_was_sent(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("headers");
    client.send(
        "PATCH /a%20b/../c?d=e&f HTTP/1.1\r\n\
         X-First: 1\r\n\
         Host: Example.COM:8080\r\n\
         Connection: keep-alive, X-Hop, TE\r\n\
         X-Hop: 1\r\n\
         TE: trailers\r\n\
         Keep-Alive: timeout=5\r\n\
         x-second:   two words  \r\n\
         Upgrade: h2c\r\n\
         Proxy-Connection: keep-alive\r\n\
         Cookie: a=1\r\n\
         X-FIRST: 2\r\n\
         Accept: */*\r\n\r\n",
    );
    // Hop-by-hop fields are not for the guest; the others keep their order, and those of one name are together.
    let authority = match front.world() {
        World::Wasi02 => "example.com",
        World::Wasi03 => "Example.COM:8080",
    };
    client.response().assert_text(&format!(
        "PATCH http {authority} /a%20b/../c?d=e&f\n\
         x-first: 1\n\
         x-first: 2\n\
         host: Example.COM:8080\n\
         te: trailers\n\
         x-second: two words\n\
         cookie: a=1\n\
         accept: */*\n",
    ));
}

pub fn the_authority_is_the_server_name_or_the_host_with_its_port(front: &impl FrontEnd) {
    let file = test_components::guest("headers");
    let application = |authority| {
        let options = Options {
            authority: Some(authority),
            ..Options::default()
        };
        configuration::application(&file, &front.options(&options))
    };
    let server = Running::start(
        front,
        &configuration::applications_of(&[
            ("server_name", application("server-name")),
            ("host", application("host")),
        ]),
    );
    for (host, server_name, authority) in [
        ("Example.COM:8080", "example.com", "Example.COM:8080"),
        ("127.0.0.1:54771", "127.0.0.1", "127.0.0.1:54771"),
        ("[::1]:8080", "[::1]", "[::1]:8080"),
        ("a.", "a", "a."),
        ("a:", "a", "a:"),
        ("a:0", "a", "a:0"),
        ("", "localhost", "localhost"),
    ] {
        for (application, expected) in [("server_name", server_name), ("host", authority)] {
            let mut client = server.connect(application);
            client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
            let response = client.response();
            let first = response.text().lines().next();
            let expected = format!("GET http {expected} /");
            assert_eq!(first, Some(&*expected), "{host:?}");
        }
    }
    for application in ["server_name", "host"] {
        let mut client = server.connect(application);
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.response().assert_text("GET http localhost /\n");
    }
}

pub fn a_redirect_by_a_guest_keeps_the_port_of_the_host(front: &impl FrontEnd) {
    let options = Options {
        authority: (front.world() == World::Wasi02).then_some("host"),
        ..Options::default()
    };
    let members = front.options(&options);
    let server = Running::start(
        front,
        &configuration::guests_with(&[("redirect", members.as_str())]),
    );
    let address = server.address("redirect");
    let mut client = server.connect("redirect");
    client.send(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n"));
    let response = client.response();
    assert_eq!(response.head.status, 302, "{response:?}");
    let location = format!("http://{address}/next");
    assert_eq!(response.head.field("location"), Some(&*location));
}

pub fn any_method_is_passed_on(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("headers");
    let in_lower_case = front
        .lacks(Need::AnyRequest)
        .is_none()
        .then_some("m-search");
    let methods = ["GET", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH"];
    for method in methods.into_iter().chain(in_lower_case) {
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        let response = client.response();
        response.assert_text(&format!("{method} http a /\nhost: a\n"));
    }
}

pub fn an_absolute_target_names_the_host(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("headers");
    client.send("GET http://one.example:81/x?y HTTP/1.1\r\nhost: two.example\r\n\r\n");
    let authority = match front.world() {
        World::Wasi02 => "one.example",
        World::Wasi03 => "one.example:81",
    };
    let expected = format!("GET http {authority} /x?y\nhost: one.example:81\n");
    client.response().assert_text(&expected);
}

pub fn a_request_may_come_byte_by_byte(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("count");
    let with_length = "\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde";
    let in_chunks = "\r\nPOST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                     3;x=y\r\nabc\r\n02\r\nde\r\n0\r\n\r\n";
    let in_chunks = front.lacks(Need::AnyChunk).is_none().then_some(in_chunks);
    for request in [with_length].into_iter().chain(in_chunks) {
        for byte in request.as_bytes() {
            client.send([*byte]);
        }
        client.response().assert_text("5\n");
    }
}

pub fn requests_may_be_pipelined(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("headers");
    client.send(
        "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n\
         POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\
         GET /3 HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    for start in ["GET http a /1\n", "POST http a /2\n", "GET http a /3\n"] {
        let response = client.response();
        assert!(response.text().starts_with(start), "{response:?}");
    }
}

pub fn keep_alive_survives_errors(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("status");
    for status in [404, 500, 503, 200, 418, 599] {
        for target in [format!("/?{status}"), format!("/?{status}&body")] {
            let response = client.get(&target);
            assert_eq!(
                (response.head.status, response.end),
                (status, End::Complete)
            );
        }
    }
}

pub fn a_client_can_end_keep_alive(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("hello");
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let response = client.response();
    response.assert_text("Hello, world!\n");
    assert_eq!(response.head.field("connection"), Some("close"));
    client.closed();
}

pub fn http_1_0_has_no_keep_alive_by_default(front: &impl FrontEnd) {
    let server = server(front);
    for (guest, target, body) in [
        ("hello", "/", &b"Hello, world!\n"[..]),
        ("download", "/?5", &[0, 1, 2, 3, 4]),
    ] {
        let mut client = server.connect(guest);
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        let response = client.response();
        assert_eq!((&response.body[..], response.end), (body, End::Complete));
        // HTTP/1.0 knows no chunks.
        assert_eq!(response.head.field("transfer-encoding"), None);
        client.closed();
    }
}

pub fn http_1_0_may_ask_for_keep_alive(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("hello");
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        let response = client.response();
        response.assert_text("Hello, world!\n");
        assert_eq!(response.head.field("connection"), Some("keep-alive"));
    }
}

pub fn expect_100_continue_is_answered_when_the_guest_reads_the_body(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("count");
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
        );
        assert_eq!(client.head().status, 100);
        client.send("hello");
        client.response().assert_text("5\n");
    }
}

pub fn expect_100_continue_is_not_answered_when_the_guest_reads_no_body(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("early");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    client.response().assert_text("early\n");
}

pub fn a_head_request_gets_only_the_head(front: &impl FrontEnd) {
    let server = server(front);
    let with_length = [
        ("hello", "/"),
        ("download", "/?1000&length"),
        // A body that would take long to write does not delay the head.
        ("download", "/?100000000000&length"),
    ];
    let without_length = [
        ("download", "/?1000"),
        ("download", "/?100000000000"),
        ("echo", "/"),
        ("status", "/?404&body"),
    ];
    let can = front.lacks(Need::HeadWithoutLength).is_none();
    let without_length = can.then_some(without_length).into_iter().flatten();
    for (guest, target) in with_length.into_iter().chain(without_length) {
        let mut client = server.connect(guest);
        for _ in 0..2 {
            client.send(format!("HEAD {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
            let head = client.response_to("HEAD").head;
            let status = if guest == "status" { 404 } else { 200 };
            assert_eq!(head.status, status);
            if guest == "hello" {
                assert_eq!(head.field("content-length"), Some("14"));
            }
        }
    }
    let mut client = server.connect("hello");
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response_to("HEAD").head.status, 200);
    client.get("/").assert_text("Hello, world!\n");
}

pub fn a_status_without_content_has_none(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("status");
    for target in ["/?204", "/?204&body", "/?304", "/?304&body"] {
        let response = client.get(target);
        assert_eq!(response.head.status.to_string(), target[2..5]);
        assert_eq!(response.head.field("transfer-encoding"), None, "{target}");
        assert_eq!(response.head.field("content-length"), None, "{target}");
        // The next response would not be one if a body had been sent.
        let response = client.get("/?200&body");
        response.assert_text("body\n");
    }
}

pub fn a_response_has_a_date_and_a_server(front: &impl FrontEnd) {
    let server = server(front);
    for guest in ["hello", "trap"] {
        let head = server.connect(guest).get("/").head;
        assert!(head.field("date").is_some(), "{head:?}");
        assert!(head.field("server").is_some(), "{head:?}");
    }
}

pub fn a_malformed_body_is_a_400_whatever_the_guest_answers(front: &impl FrontEnd) {
    let server = server(front);
    let mut client = server.connect("count");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloXX");
    client.response().assert_page(400);
    client.closed();
}

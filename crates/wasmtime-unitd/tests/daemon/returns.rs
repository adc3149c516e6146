//! `return`, with and without a `location`.

use test_suite::{End, Running};

use crate::support::{Daemon, routed};

#[test]
fn a_status_has_no_content_below_400_and_a_page_from_there_to_599() {
    let server = routed(
        r#"[
            {"match": {"uri": "/200"}, "action": {"return": 200}},
            {"match": {"uri": "/204"}, "action": {"return": 204}},
            {"match": {"uri": "/404"}, "action": {"return": 404, "location": "/ignored"}},
            {"match": {"uri": "/599"}, "action": {"return": 599}},
            {"match": {"uri": "/600"}, "action": {"return": 600}},
            {"match": {"uri": "/999"}, "action": {"return": 999}},
            {"match": {"uri": "/0"}, "action": {"return": 0}}
        ]"#,
    );
    let mut client = server.connect("main");
    for status in [200, 600, 999] {
        let response = client.get(&format!("/{status}"));
        assert_eq!(
            (response.head.status, response.text(), response.end),
            (status, "", End::Complete)
        );
        assert_eq!(response.head.field("content-length"), Some("0"));
    }
    assert_eq!(client.get("/204").head.status, 204);
    client.get("/404").assert_page(404);
    client.get("/599").assert_page(599);
    // No final response of HTTP's.
    client.get("/0").assert_page(500);
}

#[test]
fn a_location_is_encoded_unless_it_is_a_uri_already() {
    let server = routed(
        r#"[
            {"match": {"uri": "/old"}, "action": {"return": 301, "location": "https://www.example.com"}},
            {"match": {"uri": "/space"}, "action": {"return": 302, "location": "/a b?c d#e"}},
            {"action": {"return": 303, "location": "https://$host$request_uri"}}
        ]"#,
    );
    let mut client = server.connect("main");
    let mut location = |target: &str| {
        let head = client.get(target).head;
        (head.status, head.field("location").unwrap().to_owned())
    };
    let is = |status: u16, text: &str| (status, text.to_owned());
    assert_eq!(location("/old"), is(301, "https://www.example.com"));
    assert_eq!(location("/space"), is(302, "/a%20b?c%20d#e"));
    assert_eq!(
        location("/x/../y%20z?a=b"),
        is(303, "https://localhost/x/../y%20z?a=b")
    );
}

#[test]
fn a_head_request_gets_the_header_of_a_get_without_the_body() {
    let server = routed(
        r#"[{"match": {"uri": "/200"}, "action": {"return": 200}}, {"action": {"return": 404}}]"#,
    );
    let mut client = server.connect("main");
    for (target, length) in [("/200", "0"), ("/404", "54")] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let head = client.response_to("HEAD").head;
        assert_eq!(head.field("content-length"), Some(length));
        assert_eq!(
            client.get(target).head.field("content-length"),
            Some(length)
        );
    }
}

#[test]
fn an_unread_request_body_leaves_the_connection_usable() {
    let server = routed(r#"[{"action": {"return": 200}}]"#);
    let mut client = server.connect("main");
    for _ in 0..3 {
        assert_eq!(client.post("/", "some text").head.status, 200);
    }
}

#[test]
fn a_return_that_is_not_a_valid_response_is_warned_of() {
    let mut server = Running::idle(&Daemon);
    let (status, answer) = server.put(
        "/config",
        r#"{"listeners": {"{main}": {"pass": "routes"}}, "routes": [{"action": {"return": 101}}]}"#,
    );
    assert_eq!(status, 200);
    assert!(answer.contains("/routes/0/action/return"), "{answer}");
}

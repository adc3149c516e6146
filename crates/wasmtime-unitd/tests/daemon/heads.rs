//! Heads of responses that no guest has made.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use test_suite::http2::Http2;
use test_suite::{End, Running};

use crate::support::{Daemon, routed};

#[test]
fn a_205_of_an_upstream_has_no_content() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let answer = b"HTTP/1.1 205 Reset Content\r\ncontent-length: 5\r\n\r\nhello";
            _ = stream.get_mut().write_all(answer);
        }
    });
    let server = routed(&format!(
        r#"[{{"action": {{"proxy": "http://{address}"}}}}]"#
    ));
    let mut client = server.connect("main");
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.head.status, response.text()), (205, ""));
        assert_eq!(response.head.field("content-length"), Some("0"));
        assert_eq!(response.end, End::Complete);
    }
    let answer = Http2::connect(server.address("main")).get("/");
    assert_eq!(answer.summary(), (205, String::new(), true));
}

#[test]
fn a_server_field_that_response_headers_remove_is_gone_and_the_date_stays() {
    let mut server = Running::idle(&Daemon);
    let (status, answer) = server.put(
        "/config",
        r#"{
            "listeners": {"{main}": {"pass": "routes"}},
            "routes": [{"action": {
                "return": 200, "response_headers": {"Server": null, "Date": null}
            }}]
        }"#,
    );
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer.contains("/routes/0/action/response_headers/Date"),
        "{answer}"
    );
    let head = server.connect("main").get("/").head;
    assert_eq!(head.field("server"), None);
    assert!(head.field("date").is_some(), "{head:?}");
    let answer = Http2::connect(server.address("main")).get("/");
    assert!(!answer.head.headers.contains_key("server"), "{answer:?}");
}

#[test]
fn a_return_of_an_unknown_status_has_an_empty_reason_phrase() {
    let server = routed(r#"[{"action": {"return": 599}}]"#);
    let response = server.connect("main").get("/");
    assert!(
        response.raw.starts_with(b"HTTP/1.1 599 \r\n"),
        "{response:?}"
    );
}

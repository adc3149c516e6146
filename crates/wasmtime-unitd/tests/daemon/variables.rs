//! Variables of the response and of time, held against what is on the wire.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use test_suite::http2::{Http2, empty, request};
use test_suite::{Head, Running, configuration};

use crate::access_log::{file, lines};
use crate::peer::{Pair, start};
use crate::support::Daemon;

/// What the guest `download` answers with a body of no known length: more than is held in memory.
const LARGE: &str = "/stream?1000000";

/// A daemon whose access log has this format.
fn logging(format: &str) -> Running {
    let mut server = Running::idle(&Daemon);
    let folder = server.directory().to_str().unwrap().to_owned();
    fs::write(server.directory().join("file"), "content").unwrap();
    fs::write(server.directory().join("empty"), "").unwrap();
    let routes: Vec<_> = [200, 204, 304, 404]
        .into_iter()
        .map(|status| {
            format!(r#"{{"match": {{"uri": "/{status}"}}, "action": {{"return": {status}}}}}"#)
        })
        .chain([
            format!(r#"{{"match": {{"uri": ["/file", "/empty"]}}, "action": {{"share": "{folder}$uri"}}}}"#),
            r#"{"match": {"uri": "/set"}, "action": {"return": 200, "response_headers": {"Date": "now"}}}"#
                .to_owned(),
            r#"{"match": {"uri": "/stream"}, "action": {"pass": "applications/download"}}"#.to_owned(),
            r#"{"action": {"pass": "applications/hello"}}"#.to_owned(),
        ])
        .collect();
    let application = |name| configuration::application(&test_components::guest(name), "");
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}, "{{hello}}": {{"pass": "applications/hello"}}}},
            "routes": [{}],
            "access_log": {{"path": "{folder}/access.log", "format": "{format}"}},
            "applications": {{"hello": {}, "download": {}}}}}"#,
        routes.join(", "),
        application("hello"),
        application("download"),
    );
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    server
}

/// The last of so many lines.
#[track_caller]
fn line(server: &Running, number: usize) -> String {
    lines(&file(server), number).swap_remove(number - 1)
}

/// Between the first piece of a request and the rest.
const PAUSE: Duration = Duration::from_millis(700);

const FRAMING: &str =
    "$response_header_date|$response_header_content_length|$response_header_transfer_encoding";

#[test]
fn date_content_length_and_transfer_encoding_in_the_log_are_those_on_the_wire() {
    let server = logging(FRAMING);
    let expected = |head: &Head| {
        let field = |name| head.field(name).unwrap_or("-").to_owned();
        [
            field("date"),
            field("content-length"),
            field("transfer-encoding"),
        ]
        .join("|")
    };
    let mut number = 0;
    let targets = [
        "/", "/200", "/204", "/304", "/404", "/set", "/file", "/empty", LARGE,
    ];
    for method in ["GET", "HEAD"] {
        for version in ["1.1", "1.0"] {
            for target in targets {
                let mut client = server.connect("main");
                client.send(format!(
                    "{method} {target} HTTP/{version}\r\nhost: a\r\nconnection: close\r\n\r\n"
                ));
                let head = client.response_to(method).head;
                number += 1;
                let line = line(&server, number);
                assert_eq!(line, expected(&head), "{method} {target} HTTP/{version}");
                if target == LARGE && method == "GET" && version == "1.1" {
                    assert!(line.ends_with("|-|chunked"), "{line}");
                }
            }
        }
    }
    let mut client = server.connect("hello");
    assert_eq!(expected(&client.get("/").head), line(&server, number + 1));
}

#[test]
fn date_and_content_length_in_the_log_are_those_over_http2() {
    let server = logging(FRAMING);
    let mut http2 = Http2::connect(server.address("main"));
    let mut number = 0;
    for method in ["GET", "HEAD"] {
        for target in [
            "/", "/200", "/204", "/304", "/404", "/file", "/empty", LARGE,
        ] {
            let response = http2.begin(request(method, target).body(empty()).unwrap());
            let fields = http2.read(response).head.headers;
            let expected = [DATE, CONTENT_LENGTH, TRANSFER_ENCODING].map(|name| {
                let value = fields.get(name).map(|value| value.to_str().unwrap());
                value.unwrap_or("-").to_owned()
            });
            number += 1;
            let line = line(&server, number);
            assert_eq!(line, expected.join("|"), "{method} {target}");
        }
    }
}

#[test]
fn request_time_counts_from_the_first_byte_of_the_request() {
    let server = logging("$request_time");
    let mut number = 0;
    let mut seconds = || {
        number += 1;
        let line = line(&server, number);
        line.parse::<f64>().unwrap()
    };
    for listener in ["main", "hello"] {
        let mut client = server.connect(listener);
        for round in 0..3 {
            // A first request, one on a connection that is kept, and one after it has given its
            // buffers back.
            if round == 2 {
                sleep(Duration::from_secs(3));
            }
            let begun = Instant::now();
            client.send("GET / HTTP/1.1\r\n");
            sleep(PAUSE);
            client.send("host: a\r\n\r\n");
            client.response().assert_text("Hello, world!\n");
            let most = begun.elapsed().as_secs_f64() + 0.1;
            let time = seconds();
            assert!((0.65..most).contains(&time), "{time} s in round {round}");
        }
        // The pause between two requests is not a part of the second.
        sleep(PAUSE);
        let begun = Instant::now();
        client.get("/").assert_text("Hello, world!\n");
        let time = seconds();
        assert!(time < begun.elapsed().as_secs_f64() + 0.1, "{time} s");
    }
}

#[test]
fn request_time_counts_from_the_first_byte_over_tls() {
    let pair = Pair::new(&["localhost"]);
    let mut server = start("hello", r#"{"certificate": "one"}"#, &[("one", &pair)]);
    let log = format!(
        r#"{{"path": "{}", "format": "$request_time"}}"#,
        file(&server).display()
    );
    let (status, answer) = server.put("/config/access_log", &log);
    assert_eq!(status, 200, "{answer}");
    let mut client = pair.connect(server.address("hello"), "localhost");
    for number in [1, 2] {
        // Neither the handshake nor what passes between requests is a part of one.
        sleep(PAUSE * 2);
        let begun = Instant::now();
        client.send("GET / HTTP/1.1\r\n");
        sleep(PAUSE);
        client.send("host: a\r\n\r\n");
        client.response().assert_text("Hello, world!\n");
        let most = begun.elapsed().as_secs_f64() + 0.1;
        let time: f64 = line(&server, number).parse().unwrap();
        assert!((0.65..most).contains(&time), "{time} s in request {number}");
    }
}

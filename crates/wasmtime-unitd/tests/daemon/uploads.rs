//! The length of clients' uploads, as upstreams get it.

use std::process::{Command, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Channel};
use test_suite::http2::{Http2, request};
use test_suite::{Running, until};

use crate::proxy::{HELLO, Other, proxying};
use crate::support::Process;

const HOLDS: &str = r#"{"http": {"chunked_transform": true, "max_body_size": 100000}}"#;

/// A daemon that sends all requests on, and chunked ones as a whole.
fn holding(other: &Other) -> Running {
    let mut server = proxying(other);
    let (status, answer) = server.put("/config/settings", HOLDS);
    assert_eq!(status, 200, "{answer}");
    server
}

fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn chunked_transform_sends_a_chunked_upload_with_its_length() {
    let other = Other::start(|mut peer| {
        while let Some(head) = peer.head() {
            assert!(head.contains("\r\ncontent-length: 90010\r\n"), "{head}");
            for absent in ["transfer-encoding", "trailer", "expect"] {
                assert!(!head.contains(absent), "{absent} in {head}");
            }
            peer.expect(&format!("hello{}world", "a".repeat(90_000)));
            peer.send(HELLO);
        }
    });
    let server = holding(&other);
    let mut client = server.connect("main");
    for field in ["trailer: x-sum\r\n", "expect: 100-continue\r\n"] {
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{field}transfer-encoding: chunked\r\n\r\n"
        ));
        if field.starts_with("expect") {
            assert_eq!(client.head().status, 100);
        }
        client.send(chunked("hello"));
        // The other server hears nothing of it before it is whole.
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.send(chunked(&"a".repeat(90_000)));
        client.send("5\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n");
        client.response().assert_text("hello");
    }
    assert_eq!(other.connections(), 1);
    // Single bytes, and an empty body.
    let mut client = server.connect("main");
    let tells = Other::tells();
    let steps = format!(r#"[{{"action": {{"proxy": "http://{}"}}}}]"#, tells.address);
    let mut server = server;
    assert_eq!(server.put("/config/routes", &steps).0, 200);
    client.send("DELETE / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let response = client.response();
    let head = response.text();
    assert!(!head.contains("content-length"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
}

#[test]
fn chunked_transform_never_sends_an_upload_that_is_too_large_or_cut_off_or_malformed() {
    let other = Other::replies(HELLO);
    let server = holding(&other);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = server.connect("main");
    client.send(head);
    let _ = client.try_send(chunked(&"a".repeat(100_001)));
    assert_eq!(client.head().status, 413);

    let mut client = server.connect("main");
    client.send(format!("{head}5\r\nhello\r\nxyz\r\n"));
    assert_eq!(client.head().status, 400);

    let mut client = server.connect("main");
    client.send(format!("{head}5\r\nhello\r\n5\r\nwo"));
    drop(client);
    until("the last one is noticed", || {
        server.get("/status/connections/active") == "0"
    });
    assert_eq!(other.connections(), 0);

    // Others are sent on as before.
    server.connect("main").post("/", "").assert_text("hello");
    assert_eq!(other.connections(), 1);
}

#[test]
fn chunked_transform_holds_for_http2_without_a_content_length() {
    let other = Other::start(|mut peer| {
        while let Some(head) = peer.head() {
            assert!(head.contains("\r\ncontent-length: 10\r\n"), "{head}");
            peer.expect("helloworld");
            peer.send(HELLO);
        }
    });
    let server = holding(&other);
    let mut client = Http2::connect(server.address("main"));
    let (mut sender, body) = Channel::<Bytes>::new(1);
    client.spawn(async move {
        for piece in ["hello", "world"] {
            sender
                .send_data(Bytes::from_static(piece.as_bytes()))
                .await
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let response = client.begin(request("POST", "/").body(body.boxed()).unwrap());
    assert_eq!(
        client.read(response).summary(),
        (200, "hello".to_owned(), true)
    );
}

#[test]
fn an_http2_get_that_an_empty_data_frame_ends_has_no_framing() {
    let other = Other::tells();
    let server = proxying(&other);
    let mut client = Http2::connect(server.address("main"));
    // The second one goes to a connection that was kept.
    for method in ["GET", "GET", "DELETE", "POST"] {
        let (sender, body) = Channel::<Bytes>::new(1);
        drop(sender);
        let response = client.begin(request(method, "/").body(body.boxed()).unwrap());
        let (status, head, _) = client.read(response).summary();
        assert_eq!(status, 200);
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(
            head.contains("content-length: 0"),
            method == "POST",
            "{head}"
        );
    }
}

#[test]
fn a_short_chunked_upload_that_has_come_whole_has_a_content_length() {
    let other = Other::start(|mut peer| {
        while let Some(head) = peer.head() {
            assert!(head.contains("\r\ncontent-length: 10\r\n"), "{head}");
            peer.expect("helloworld");
            peer.send(HELLO);
        }
    });
    let server = proxying(&other);
    let mut client = server.connect("main");
    for _ in 0..3 {
        client.send(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
        );
        client.response().assert_text("hello");
    }
}

#[test]
fn a_426_reaches_the_client_with_its_upgrade_field() {
    let other = Other::replies(
        "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         content-length: 0\r\n\r\n",
    );
    let server = proxying(&other);
    let mut client = server.connect("main");
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.head.status, 426);
        assert_eq!(response.head.field("upgrade"), Some("websocket"));
        assert_eq!(response.head.field("connection"), Some("upgrade"));
    }
    let answer = Http2::connect(server.address("main")).get("/");
    assert_eq!(answer.head.status, 426);
    assert!(!answer.head.headers.contains_key("upgrade"));
}

#[test]
fn a_response_of_too_many_fields_is_a_502_and_the_log_has_the_limit() {
    let fields = "x-a: b\r\n".repeat(255);
    let taken = Other::replies(format!(
        "HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n"
    ));
    let server = proxying(&taken);
    let response = server.connect("main").get("/");
    assert_eq!(response.head.status, 200);

    let refused = Other::replies(format!(
        "HTTP/1.1 200 OK\r\n{fields}x-a: b\r\ncontent-length: 0\r\n\r\n"
    ));
    let server = proxying(&refused);
    assert_eq!(server.connect("main").get("/").head.status, 502);
    server.wait_for_log("more than 65536 bytes or 256 fields");
}

/// Servers that know lengths only: the one says 411 or 501, the other takes chunks for no body.
const STRICT: &str = r#"
import sys, http.server, wsgiref.simple_server
class Strict(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        if "transfer-encoding" in self.headers:
            return self.send_error(501)
        if self.command in ("POST", "PUT", "PATCH") and "content-length" not in self.headers:
            return self.send_error(411)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer
def wsgi(environ, start):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start("200 OK", [("content-length", str(len(body)))])
    return [body]
if sys.argv[1] == "wsgiref":
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, wsgi)
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strict)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

#[test]
fn pythons_strict_servers_get_whole_uploads_with_chunked_transform() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: no python3 on this machine");
        return;
    }
    for kind in ["http.server", "wsgiref"] {
        let mut command = Command::new("python3");
        let strict = Process::spawn(command.args(["-c", STRICT, kind]).stdin(Stdio::null()));
        until("the server listens", || strict.output().ends_with('\n'));
        let address = format!("127.0.0.1:{}", strict.output().trim());
        let mut server = crate::support::routed(&format!(
            r#"[{{"action": {{"proxy": "http://{address}"}}}}]"#
        ));
        assert_eq!(server.put("/config/settings", HOLDS).0, 200);
        let mut client = server.connect("main");
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        for piece in ["hello ", "chunked ", "world"] {
            client.send(chunked(piece));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        client.send("0\r\n\r\n");
        client.response().assert_text("hello chunked world");
        // And requests without a body, of both versions.
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if kind == "wsgiref" && method == "OPTIONS" {
                continue;
            }
            client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
            let response = client.response();
            assert_eq!(response.head.status, 200, "{kind} {method}: {response:?}");
            let mut client = Http2::connect(server.address("main"));
            let (sender, body) = Channel::<Bytes>::new(1);
            drop(sender);
            let response = client.begin(request(method, "/").body(body.boxed()).unwrap());
            assert_eq!(response.status(), 200, "{kind} {method}");
        }
    }
}

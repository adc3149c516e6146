//! Requests that are answered before their bodies have been read, whatever answers them.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};
use std::thread;

use test_suite::{Client, DEADLINE, End, NoAnswer, Running, Socket, curl, has_curl};

use crate::peer::Pair;
use crate::support::{Daemon, routed};

const TRIES: usize = 10;

/// Answers each request once it has its head, and sends nothing more.
fn hasty_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            stream.get_ref().bound(DEADLINE).unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhasty";
            _ = stream.get_mut().write_all(answer);
            _ = stream.get_ref().shutdown(Shutdown::Write);
            thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    address
}

/// A server of everything that answers without reading, each at a path of its own.
fn server() -> (Running, Vec<&'static str>) {
    let mut server = Running::guests(&Daemon, &["early"]);
    let directory = server.directory().join("www");
    std::fs::create_dir_all(&directory).unwrap();
    let (status, answer) = server.put(
        "/config/routes",
        &format!(
            r#"[
                {{"match": {{"uri": "/return"}}, "action": {{"return": 200}}}},
                {{"match": {{"uri": "/share"}}, "action": {{"share": "{}$uri"}}}},
                {{"match": {{"uri": "/guest"}}, "action": {{"pass": "applications/early"}}}},
                {{"match": {{"uri": "/proxy"}}, "action": {{"proxy": "http://{}"}}}}
            ]"#,
            directory.display(),
            hasty_server(),
        ),
    );
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = server.put("/config/listeners/{main}", r#"{"pass": "routes"}"#);
    assert_eq!(status, 200, "{answer}");
    (
        server,
        vec!["/return", "/share", "/guest", "/proxy", "/none"],
    )
}

fn expected(path: &str) -> u16 {
    match path {
        "/share" => 405,
        "/none" => 404,
        _ => 200,
    }
}

#[test]
fn keep_alive_survives_an_unread_request_body() {
    let (server, paths) = server();
    for path in paths {
        for _ in 0..TRIES {
            let mut client = server.connect("main");
            client.send(format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"
            ));
            if path != "/proxy" {
                // The body has not been sent yet.
                assert_eq!(client.response().head.status, expected(path), "{path}");
            }
            client.send("ten bytes!");
            client.send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
            if path == "/proxy" {
                assert_eq!(client.response().head.status, expected(path), "{path}");
            }
            assert_eq!(client.response().head.status, 404, "{path}");
        }
    }
}

/// That a client has been asked for one body, which was read, says nothing about the next one.
#[test]
fn a_body_that_is_not_asked_for_is_not_continued_with_after_one_that_was() {
    let mut server = Running::guests(&Daemon, &["count", "sleep"]);
    let (status, answer) = server.put(
        "/config/routes",
        r#"[
            {"match": {"uri": "/count"}, "action": {"pass": "applications/count"}},
            {"action": {"pass": "applications/sleep"}}
        ]"#,
    );
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = server.put("/config/listeners/{main}", r#"{"pass": "routes"}"#);
    assert_eq!(status, 200, "{answer}");
    let expecting = |target| {
        format!(
            "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n"
        )
    };
    for _ in 0..TRIES {
        let mut client = server.connect("main");
        client.send(expecting("/count"));
        assert_eq!(client.head().status, 100);
        client.send("hello");
        client.response().assert_text("5\n");
        client.send(expecting("/?20"));
        let response = client.response();
        assert_eq!(response.head.status, 200);
        assert_eq!(response.head.field("connection"), Some("close"));
    }
}

#[test]
fn an_unread_upload_does_not_cost_the_client_its_response() {
    let (server, paths) = server();
    for path in paths {
        for _ in 0..TRIES {
            let mut client = server.connect("main");
            send_all(&mut client, path);
            let response = client.response();
            assert_eq!(
                (response.head.status, response.end),
                (expected(path), End::Complete)
            );
        }
    }
}

#[test]
fn an_unread_upload_over_tls_does_not_cost_the_client_its_response() {
    let pair = Pair::new(&["localhost"]);
    let (mut server, paths) = server();
    pair.upload(&server, "one");
    let (status, answer) = server.put(
        "/config/listeners/{tls}",
        r#"{"pass": "routes", "tls": {"certificate": "one"}}"#,
    );
    assert_eq!(status, 200, "{answer}");
    for path in paths {
        for _ in 0..TRIES {
            let mut client = pair.connect(server.address("tls"), "localhost");
            send_all(&mut client, path);
            let response = client.response();
            assert_eq!(
                (response.head.status, response.end),
                (expected(path), End::Complete)
            );
        }
    }
}

/// Sends 4 MB before it looks at anything.
#[track_caller]
fn send_all<S: Socket>(client: &mut Client<S>, path: &str) {
    client.send(format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n"
    ));
    for _ in 0..40 {
        client.send([b'x'; 100_000]);
    }
}

#[test]
fn an_upload_that_is_too_large_gets_its_413() {
    let server = routed(r#"[{"action": {"return": 200}}]"#);
    let limit = r#"{"http": {"max_body_size": 1000}}"#;
    assert_eq!(server.control("PUT", "/config/settings", limit).0, 200);
    for _ in 0..TRIES {
        let mut client = server.connect("main");
        send_all(&mut client, "/");
        let response = client.response();
        response.assert_page(413);
        assert_eq!(response.head.field("connection"), Some("close"));
        assert_eq!(client.closed(), NoAnswer::Closed);
    }
}

#[test]
fn python_reads_the_response_to_an_unread_upload() {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no python3 on this machine");
        return;
    }
    let (server, paths) = server();
    let mut script = String::from("import http.client\n");
    for path in paths {
        let status = expected(path);
        writeln!(
            script,
            "for size in (1000, 4000000):\n \
             for _ in range({TRIES}):\n  \
             c = http.client.HTTPConnection('{}', timeout=20)\n  \
             c.request('POST', '{path}', b'x' * size)\n  \
             r = c.getresponse()\n  \
             assert r.status == {status}, ('{path}', size, r.status)\n  \
             r.read()",
            server.address("main"),
        )
        .unwrap();
    }
    let output = Command::new("python3")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn curl_reads_the_response_to_an_unread_upload() {
    if !has_curl() {
        return;
    }
    let (server, paths) = server();
    let body = server.directory().join("body");
    std::fs::write(&body, vec![b'x'; 4_000_000]).unwrap();
    let large = format!("@{}", body.display());
    for path in paths {
        let url = format!("http://{}{path}", server.address("main"));
        for (flags, body) in [
            (&["--http1.1"][..], "ten bytes!"),
            (&["--http1.1"], &*large),
            (&["--http1.1", "--header", "expect:"], &large),
            (&["--http1.0"], &large),
            (&["--http2-prior-knowledge"], "ten bytes!"),
            (&["--http2-prior-knowledge"], &large),
        ] {
            if path == "/proxy" && body == large && flags == ["--http2-prior-knowledge"] {
                // It is passed to the upstream, for which the end of the stream does not wait.
                continue;
            }
            for _ in 0..TRIES {
                let output = curl(flags.iter().copied().chain([
                    "--write-out",
                    "\n%{http_code}",
                    "--data-binary",
                    body,
                    &url,
                ]));
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr);
                if errors.contains("does not support") {
                    eprintln!("skipped: this curl does not speak HTTP/2");
                    break;
                }
                assert!(output.status.success(), "{path} {flags:?}: {errors}");
                let end = format!("\n{}", expected(path));
                assert!(text.ends_with(&end), "{path} {flags:?}: {text}");
            }
        }
    }
}

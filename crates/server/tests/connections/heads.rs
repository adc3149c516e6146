//! The first lines of responses, as the status and the version of the request want them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENT, Running, ends_with_body, read_to_end, run, start};

const LONG: Duration = Duration::from_secs(20);

/// What comes until the connection ends.
async fn answer(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

#[test]
fn http_1_0_keep_alive_is_not_promised_after_a_stream_without_length() {
    run(async {
        let running = start("download", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = b"GET /?1000000 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(LONG, stream.read_to_end(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(answer.len() > 1_000_000);
        let answer = String::from_utf8_lossy(&answer);
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(!head.contains("keep-alive"), "{head}");
        assert!(head.contains("\r\nconnection: close"), "{head}");
    });
}

#[test]
fn http_1_0_keep_alive_is_not_promised_with_an_error_that_closes() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        let request = "GET / HTTP/1.0\r\nhost: a b\r\nconnection: keep-alive\r\n\r\n";
        let answer = answer(&running, request).await;
        assert!(
            answer.starts_with("HTTP/1.0 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(!answer.contains("keep-alive"), "{answer}");
    });
}

#[test]
fn a_newer_minor_version_is_served_as_http_1_1_and_closed() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        for version in ["1.2", "1.9"] {
            let request = format!("\r\nGET / HTTP/{version}\r\nhost: a\r\n\r\n");
            let answer = answer(&running, &request).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(ends_with_body(&answer, "Hello, world!\n"), "{answer}");
        }
    });
}

#[test]
fn a_205_has_no_content_and_a_length_of_zero() {
    run(async {
        let running = start("status", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for target in ["/?205", "/?205&body"] {
            let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut received = Vec::new();
            while !received.ends_with(b"\r\n\r\n") {
                let byte = timeout(LONG, stream.read_u8()).await;
                received.push(byte.unwrap().unwrap());
            }
            // Content would stand before the next response.
            let head = String::from_utf8(received).unwrap();
            assert!(head.starts_with("HTTP/1.1 205 Reset Content\r\n"), "{head}");
            assert!(head.contains("content-length: 0\r\n"), "{head}");
            assert!(!head.contains("transfer-encoding"), "{head}");
        }
    });
}

#[test]
fn an_unknown_status_has_an_empty_reason_phrase() {
    run(async {
        let running = start("status", PATIENT, 16).await;
        for version in ["1.0", "1.1"] {
            let request =
                format!("GET /?299 HTTP/{version}\r\nhost: a\r\nconnection: close\r\n\r\n");
            let answer = answer(&running, &request).await;
            assert!(
                answer.starts_with(&format!("HTTP/{version} 299 \r\n")),
                "{answer}"
            );
        }
    });
}

//! Connections that the server closes while the client continues to send: no response is lost to a reset.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{PATIENT, SHORT, ends_with_body, run, start, start_with_idle};
use crate::tls::{Tls, all};

const LONG: Duration = Duration::from_secs(20);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// All that comes until the server has shut its side down.
async fn received(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(LONG, stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    answer
}

/// Whether a client may continue to send requests, at least for a while.
async fn may_continue(stream: &mut TcpStream) -> bool {
    for _ in 0..10 {
        // A reset is seen by the write after the one that it answers.
        if stream.write_all(REQUEST).await.is_err() {
            return false;
        }
        sleep(SHORT / 20).await;
    }
    true
}

#[test]
fn a_request_after_one_that_is_refused_does_not_reset_the_connection() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", "400"),
            ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "501"),
            // Served as HTTP/1.1, but once.
            ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", "200"),
        ] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = received(&mut stream).await;
            assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
            assert!(may_continue(&mut stream).await, "{request}");
        }
    });
}

#[test]
fn a_request_that_crosses_a_graceful_shutdown_does_not_reset_the_connection() {
    run(async {
        for target in ["/?0", "/?300"] {
            let running = start("sleep", PATIENT, 16).await;
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            while running.server.requests() == 0 {
                sleep(SHORT / 100).await;
            }
            let begun = Instant::now();
            let server = running.server.clone();
            let drained = tokio::spawn(async move { server.drain().await });
            let answer = received(&mut stream).await;
            assert!(ends_with_body(&answer, "slept\n"), "{answer}");
            assert!(may_continue(&mut stream).await, "{target}");
            // A client that does not stop is not waited for any longer than others.
            let continuing = async { while may_continue(&mut stream).await {} };
            timeout(LONG, continuing).await.unwrap();
            timeout(LONG, drained).await.unwrap().unwrap();
            assert!(begun.elapsed() >= Duration::from_secs(2));
        }
    });
}

#[test]
fn a_connection_that_the_client_wants_closed_or_has_left_idle_is_closed_at_once() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        assert!(ends_with_body(
            received(&mut stream).await,
            "Hello, world!\n"
        ));
        assert!(!may_continue(&mut stream).await);

        let running = start_with_idle("hello", SHORT).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        assert!(received(&mut stream).await.ends_with("<p>Error 408.\r\n"));
        assert!(!may_continue(&mut stream).await);
    });
}

#[test]
fn a_refusal_over_tls_is_followed_by_an_orderly_end() {
    run(async {
        let tls = Tls::start("hello", PATIENT).await;
        let mut stream = tls.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let (text, is_complete) = all(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        assert!(is_complete);
    });
}

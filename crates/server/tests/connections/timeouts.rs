//! How long a client is waited for, with timeouts that a test can wait for.

use std::time::{Duration, Instant};

use server::Timeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{PATIENT, SHORT, assert_timed_out, ends_with_body, read_to_end, run, start};

const SHORT_HEADER: Timeouts = Timeouts {
    header_read: SHORT,
    idle: SHORT,
    ..PATIENT
};

#[test]
fn a_client_that_does_not_finish_its_header_is_cut_off() {
    run(async {
        let running = start("hello", SHORT_HEADER, 16).await;
        for begun in ["", "GE", "PRI * HTTP/2.0\r\n\r\nSM"] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            assert_eq!(read_to_end(&mut stream).await, "", "{begun:?}");
        }
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let begun = b"GET / HTTP/1.1\r\nhost: a\r\nx: ";
        stream.write_all(begun).await.unwrap();
        assert_timed_out(&read_to_end(&mut stream).await);
    });
}

#[test]
fn a_header_that_trickles_in_is_cut_off_all_the_same() {
    run(async {
        let running = start("hello", SHORT_HEADER, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let begun = Instant::now();
        // Each byte comes well within the time, the whole does not.
        for byte in "GET / HTTP/1.1\r\nhost: "
            .bytes()
            .chain(std::iter::repeat_n(b'a', 1000))
        {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(SHORT / 20).await;
        }
        assert!(begun.elapsed() < SHORT * 15);
    });
}

#[test]
fn an_idle_connection_is_closed() {
    run(async {
        let running = start("hello", SHORT_HEADER, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let answers = read_to_end(&mut stream).await;
        let end = answers.rfind("HTTP/1.1 ").unwrap();
        assert!(
            ends_with_body(&answers[..end], "Hello, world!\n"),
            "{answers}"
        );
        assert_timed_out(&answers[end..]);
    });
}

#[test]
fn a_body_that_stalls_is_a_408() {
    run(async {
        let timeouts = Timeouts {
            body_read: SHORT,
            ..PATIENT
        };
        let running = start("count", timeouts, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let begun = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfive!";
        stream.write_all(begun).await.unwrap();
        assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 408 "));
        assert_eq!(running.application.active(), 0);
    });
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_its_instance_cancelled() {
    run(async {
        let timeouts = Timeouts {
            send: SHORT,
            ..PATIENT
        };
        let running = start("download", timeouts, 16).await;
        for (number, version) in (1..).zip(["1.0", "1.1"]) {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let request = format!("GET /?1000000000 HTTP/{version}\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while running.server.connections().closed < number {
                assert!(Instant::now() < deadline);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(running.application.active(), 0);
            // In HTTP/1.0 an orderly end would be the end of the body.
            let mut received = Vec::new();
            let error = stream.read_to_end(&mut received).await.unwrap_err();
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset,
                "{version}"
            );
        }
    });
}

#[test]
fn an_unknown_version_is_answered_however_much_is_behind_it() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        for _ in 0..20 {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let request = ["GET / HTTP/4.0\r\n", &"x".repeat(40_000)].concat();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
        }
    });
}

#[test]
fn a_connection_above_the_limit_waits_in_the_backlog() {
    run(async {
        let running = start("hello", PATIENT, 1).await;
        let first = TcpStream::connect(running.address).await.unwrap();
        let mut second = TcpStream::connect(running.address).await.unwrap();
        second.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut byte = [0];
        let early = tokio::time::timeout(SHORT, second.read(&mut byte)).await;
        assert!(early.is_err(), "served beyond the limit");
        drop(first);
        assert!(ends_with_body(
            read_to_end(&mut second).await,
            "Hello, world!\n"
        ));
    });
}

#[test]
fn a_graceful_shutdown_waits_for_requests_in_progress_only() {
    run(async {
        let running = start("sleep", PATIENT, 16).await;
        let _silent = TcpStream::connect(running.address).await.unwrap();
        let mut busy = TcpStream::connect(running.address).await.unwrap();
        busy.write_all(b"GET /?500 HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        while running.application.active() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let drained = tokio::time::timeout(Duration::from_secs(10), running.server.drain());
        let (drained, answer) = tokio::join!(drained, read_to_end(&mut busy));
        drained.unwrap();
        assert!(ends_with_body(&answer, "slept\n"), "{answer}");
        assert!(TcpStream::connect(running.address).await.is_err());
    });
}

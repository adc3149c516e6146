//! Bodies of requests that the server leaves unread: drained within bounds, or followed by a close that
//! loses no response.

use std::time::{Duration, Instant};

use h2::Reason;
use http::Request;
use server::Timeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, METHOD_POST, PROTOCOL_ERROR, RST_STREAM, RawClient,
    fields, frame, literal,
};
use crate::support::{PATIENT, Running, SHORT, ends_with_body, run, start};

const LONG: Duration = Duration::from_secs(20);

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";
const HELLO: &str = "Hello, world!\n";

/// Reads until the response with this content is there, and no further.
async fn response(stream: &mut TcpStream, content: &str) -> String {
    let mut received = Vec::new();
    while !ends_with_body(&received, content) {
        let byte = timeout(LONG, stream.read_u8()).await.unwrap();
        received.push(byte.unwrap());
    }
    String::from_utf8(received).unwrap()
}

/// Waits until the server has closed this many connections.
async fn closed(running: &Running, count: u64) {
    let begun = Instant::now();
    while running.server.connections().closed < count {
        assert!(begun.elapsed() < LONG, "{:?}", running.server.connections());
        sleep(SHORT / 10).await;
    }
}

#[test]
fn an_unread_body_is_drained_and_the_next_request_answered() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        for (fields, body) in [
            ("content-length: 10\r\n", "ten bytes!"),
            (
                "transfer-encoding: chunked\r\n",
                "4\r\ntext\r\n0\r\nx: y\r\n\r\n",
            ),
            ("content-length: 500000\r\n", &*"x".repeat(500_000)),
        ] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            for _ in 0..2 {
                let head = format!("{POST}{fields}\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                // It does not wait for the body.
                let answer = response(&mut stream, "early\n").await;
                assert!(!answer.contains("connection: close"), "{answer}");
                for piece in body.as_bytes().chunks(100_000) {
                    stream.write_all(piece).await.unwrap();
                    sleep(SHORT / 10).await;
                }
            }
            stream
                .write_all(b"GET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            response(&mut stream, "early\n").await;
        }
    });
}

#[test]
fn http_1_0_keep_alive_survives_an_unread_body() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for _ in 0..2 {
            let head = "POST / HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 10\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let answer = response(&mut stream, "early\n").await;
            assert!(answer.contains("connection: keep-alive\r\n"), "{answer}");
            stream.write_all(b"ten bytes!").await.unwrap();
        }
    });
}

#[test]
fn a_connection_that_is_closed_anyway_does_not_wait_for_the_body() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        for head in [
            "POST / HTTP/1.0\r\ncontent-length: 10\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let read = timeout(LONG, stream.read_to_string(&mut answer)).await;
            read.unwrap().unwrap();
            assert!(ends_with_body(&answer, "early\n"), "{answer}");
        }
    });
}

#[test]
fn a_body_that_is_too_long_to_drain_is_followed_by_a_lingering_close() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        for number in 1..=10 {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let head = format!("{POST}content-length: 4000000\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            // The client looks at nothing before it has sent all. None of its writes may fail.
            for _ in 0..40 {
                stream.write_all(&[b'x'; 100_000]).await.unwrap();
                sleep(SHORT / 100).await;
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(ends_with_body(&answer, "early\n"), "{answer}");
            drop(stream);
            closed(&running, number).await;
        }
    });
}

#[test]
fn a_chunked_body_that_is_too_long_ends_in_a_lingering_close() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!("{POST}transfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        response(&mut stream, "early\n").await;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        for _ in 0..64 {
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
        let mut nothing = Vec::new();
        timeout(LONG, stream.read_to_end(&mut nothing))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(nothing, b"");
    });
}

#[test]
fn a_client_that_lingers_in_silence_is_left_after_two_seconds() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!("{POST}content-length: 4000000\r\n\r\n");
        let begun = Instant::now();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        // The server has shut its side down, and waits for the client.
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(running.server.connections().active, 0);
        closed(&running, 1).await;
        assert!(begun.elapsed() >= Duration::from_secs(2));
    });
}

#[test]
fn a_body_that_stalls_while_it_is_drained_ends_the_connection() {
    run(async {
        let timeouts = Timeouts {
            body_read: SHORT,
            ..PATIENT
        };
        let running = start("early", timeouts, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!("{POST}content-length: 10\r\n\r\nfive!");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(LONG, stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(ends_with_body(&answer, "early\n"), "{answer}");
    });
}

#[test]
fn no_100_continue_is_sent_for_a_body_that_is_not_read() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!("{POST}content-length: 10\r\nexpect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LONG, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        // Whether the body follows is the client's to decide, so that nothing else may.
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(ends_with_body(&answer, "early\n"), "{answer}");
    });
}

#[test]
fn a_response_to_what_hyper_refuses_is_not_lost_to_a_reset() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        let long_field = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(400_000));
        let broken_chunk = format!(
            "{POST}transfer-encoding: chunked\r\n\r\nx\r\n{}",
            "x".repeat(400_000)
        );
        let long_target = format!("GET /{} HTTP/1.1\r\n", "x".repeat(400_000));
        let no_request = "\0".repeat(400_000);
        for (request, statuses) in [
            (long_field, &["431"][..]),
            // The guest has answered, or not.
            (broken_chunk, &["400", "200"]),
            (long_target, &["414", "431"]),
            (no_request, &["400"]),
        ] {
            for _ in 0..10 {
                let mut stream = TcpStream::connect(running.address).await.unwrap();
                for piece in request.as_bytes().chunks(50_000) {
                    stream.write_all(piece).await.unwrap();
                    sleep(SHORT / 100).await;
                }
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                let status = answer.split(' ').nth(1).unwrap();
                assert!(statuses.contains(&status), "{answer}");
            }
        }
    });
}

#[test]
fn a_graceful_shutdown_waits_no_longer_than_two_seconds_for_a_body_that_is_drained() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!("{POST}content-length: 10\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        response(&mut stream, "early\n").await;
        timeout(Duration::from_secs(10), running.server.drain())
            .await
            .unwrap();
        drop(stream);
    });
}

#[test]
fn a_stream_whose_short_body_is_unread_is_not_reset() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..10 {
            client = client.ready().await.unwrap();
            let request = Request::post("http://a/").body(()).unwrap();
            let (response, mut sender) = client.send_request(request, false).unwrap();
            let response = timeout(LONG, response).await.unwrap().unwrap();
            let mut body = response.into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "early\n");
            sender.send_data("ten bytes!".into(), false).unwrap();
            sleep(SHORT / 10).await;
            sender.send_data("ten bytes!".into(), true).unwrap();
            while let Some(piece) = timeout(LONG, body.data()).await.unwrap() {
                assert_eq!(piece.unwrap(), "");
            }
        }
    });
}

#[test]
fn a_stream_ends_after_the_body_that_was_announced_or_soon() {
    run(async {
        let running = start("status", PATIENT, 16).await;
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for length in [Some("10"), None] {
            client = client.ready().await.unwrap();
            let request = Request::post("http://a/?200");
            let request = match length {
                Some(length) => request.header("content-length", length),
                None => request,
            };
            let (response, mut sender) = client
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            // The head does not wait.
            let response = timeout(LONG, response).await.unwrap().unwrap();
            let mut body = response.into_body();
            if length.is_some() {
                assert!(timeout(SHORT, body.data()).await.is_err());
                sender.send_data("ten bytes!".into(), true).unwrap();
            }
            // The end comes in a frame of its own.
            while let Some(piece) = timeout(LONG, body.data()).await.unwrap() {
                assert_eq!(piece.unwrap(), "");
            }
        }
    });
}

#[test]
fn a_stream_that_stays_open_in_silence_is_reset_without_an_error() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = Request::post("http://a/").body(()).unwrap();
        let (response, mut sender) = client.send_request(request, false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "early\n");
        let begun = Instant::now();
        let reset = std::future::poll_fn(|cx| sender.poll_reset(cx));
        let reason = timeout(LONG, reset).await.unwrap().unwrap();
        assert_eq!(reason, Reason::NO_ERROR);
        assert!(begun.elapsed() > Duration::from_secs(1));
    });
}

#[test]
fn a_wrong_content_length_is_noticed_in_a_body_that_is_not_read() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        for (announced, pieces) in [
            ("1", &["four"][..]),
            ("7", &["four"]),
            ("6", &["four", "four"]),
        ] {
            let mut client = RawClient::connect(running.address).await;
            let length = literal("content-length", announced);
            let fields = [fields(METHOD_POST, "/"), length].concat();
            client.send(&frame(HEADERS, END_HEADERS, 1, &fields)).await;
            client.find("response", |frame| frame.is(DATA, 1)).await;
            for (index, piece) in pieces.iter().enumerate() {
                let is_last = u8::from(index + 1 == pieces.len());
                let piece = frame(DATA, is_last * END_STREAM, 1, piece.as_bytes());
                client.send(&piece).await;
            }
            let reset = client.find("reset", |frame| frame.is(RST_STREAM, 1)).await;
            assert_eq!(reset.error_code(), PROTOCOL_ERROR, "{announced}");
        }
    });
}

#[test]
fn the_rest_of_a_long_body_is_drained_within_a_long_response() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for _ in 0..3 {
            let request = format!(
                "{POST}content-length: 900000\r\n\r\n{}",
                "x".repeat(900_000)
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            response(&mut stream, HELLO).await;
        }
    });
}

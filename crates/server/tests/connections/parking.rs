//! Connections that wait for their next request for so long that they give their buffers back.

use std::time::{Duration, Instant};

use server::Timeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::{
    NEVER, PATIENT, assert_timed_out, ends_with_body, parked, read_to_end, run, start, until,
};

/// After which connections are parked here.
const PARK_AFTER: Duration = Duration::from_millis(20);

/// By when a connection that may be parked is.
const PARKED: Duration = Duration::from_millis(150);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn soon(limit: Duration) -> Timeouts {
    Timeouts {
        header_read: limit,
        idle: limit,
        park_after: PARK_AFTER,
        ..PATIENT
    }
}

/// Reads until the response with this body is there.
async fn read_response(stream: &mut TcpStream, body: &str) {
    let mut text = String::new();
    while !ends_with_body(&text, body) {
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut piece));
        let read = read.await;
        assert!(read.is_ok(), "nothing more came after {text:?}");
        let length = read.unwrap().unwrap();
        assert!(length > 0, "the connection ended after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
}

async fn greeted(stream: &mut TcpStream) {
    stream.write_all(REQUEST).await.unwrap();
    read_response(stream, "Hello, world!\n").await;
}

#[test]
fn a_parked_connection_serves_as_before() {
    run(async {
        let running = start("hello", soon(NEVER), 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for _ in 0..5 {
            greeted(&mut stream).await;
            greeted(&mut stream).await;
            parked(&running.server).await;
        }
        assert_eq!(running.server.connections().accepted, 1);
        assert_eq!(running.server.connections().idle, 1);
        assert_eq!(running.server.requests(), 10);
    });
}

#[test]
fn a_parked_connection_is_closed_at_the_idle_timeout() {
    run(async {
        let running = start("hello", soon(PARKED * 4), 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        greeted(&mut stream).await;
        let begun = Instant::now();
        parked(&running.server).await;
        assert_timed_out(&read_to_end(&mut stream).await);
        until("the connection still counts as parked", || {
            running.server.parked_connections() == 0
        })
        .await;
        assert!(begun.elapsed() > PARKED * 3, "{:?}", begun.elapsed());
        assert_eq!(running.server.connections().closed, 1);
    });
}

#[test]
fn half_a_request_survives_parking() {
    run(async {
        let running = start("hello", soon(NEVER), 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let (begun, left) = REQUEST.split_at(20);
        stream.write_all(&[REQUEST, begun].concat()).await.unwrap();
        read_response(&mut stream, "Hello, world!\n").await;
        sleep(PARKED).await;
        // It was parked, and unparked at once, since it has bytes to be read.
        assert_eq!(running.server.parked_connections(), 0);
        stream.write_all(left).await.unwrap();
        read_response(&mut stream, "Hello, world!\n").await;
        assert_eq!(running.server.requests(), 2);
    });
}

#[test]
fn a_parked_connection_has_no_more_time_for_a_header_than_a_new_one() {
    run(async {
        let running = start("hello", soon(PARKED * 2), 16).await;
        // With the header begun before it could be parked, and after it was.
        for is_begun in [true, false] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            greeted(&mut stream).await;
            let begun = Instant::now();
            if is_begun {
                stream.write_all(b"GET").await.unwrap();
            }
            sleep(PARKED).await;
            // Each byte comes in time to be the sign of life of a parked connection.
            for byte in b"GET / HTTP/1.1\r\nhost: ".iter().cycle() {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                assert!(begun.elapsed() < PARKED * 10, "the header may take forever");
                sleep(PARK_AFTER).await;
            }
        }
    });
}

#[test]
fn a_connection_whose_guest_works_is_not_parked() {
    run(async {
        let running = start("sleep", soon(NEVER), 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for _ in 0..2 {
            let request = b"GET /?300 HTTP/1.1\r\nhost: a\r\n\r\n";
            stream.write_all(request).await.unwrap();
            sleep(PARKED).await;
            assert_eq!(running.server.parked_connections(), 0);
            read_response(&mut stream, "slept\n").await;
        }
    });
}

#[test]
fn a_connection_with_a_body_in_transfer_is_not_parked() {
    run(async {
        let running = start("count", soon(NEVER), 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        for _ in 0..2 {
            let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";
            stream.write_all(head).await.unwrap();
            for piece in ["GET / ", "HTTP"] {
                sleep(PARKED).await;
                assert_eq!(running.server.parked_connections(), 0);
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
            read_response(&mut stream, "10\n").await;
        }
        assert_eq!(running.server.requests(), 2);
    });
}

#[test]
fn the_rest_of_an_unread_body_cannot_smuggle_a_request() {
    run(async {
        // The one ends with its answer, the other works on, and keeps what it has of the body.
        for (guest, answer) in [("early", "early\n"), ("work_after", "done\n")] {
            let running = start(guest, soon(NEVER), 16).await;
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let head = b"POST /?500 HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            read_response(&mut stream, answer).await;
            sleep(PARKED).await;
            assert_eq!(running.server.parked_connections(), 0, "{guest}");
            // It is part of the body, which is drained, or kept by its guest.
            stream.write_all(REQUEST).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(read_to_end(&mut stream).await, "", "{guest}");
            assert_eq!(running.server.requests(), 1, "{guest}");
        }
    });
}

#[test]
fn a_connection_whose_client_reads_slowly_is_not_parked() {
    run(async {
        let running = start("download", soon(NEVER), 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = b"GET /?20000000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        sleep(PARKED).await;
        assert_eq!(running.server.parked_connections(), 0);
        let mut length = 0;
        let mut piece = vec![0; 4 << 20];
        loop {
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut piece));
            match read.await.unwrap().unwrap() {
                0 => break,
                count => length += count,
            }
            sleep(PARK_AFTER * 3).await;
        }
        assert!(length > 20_000_000, "{length} bytes came");
    });
}

#[test]
fn a_parked_connection_does_not_delay_a_graceful_shutdown() {
    run(async {
        let running = start("hello", soon(NEVER), 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        greeted(&mut stream).await;
        parked(&running.server).await;
        let drained = tokio::time::timeout(Duration::from_secs(10), running.server.drain());
        drained.await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, "");
    });
}

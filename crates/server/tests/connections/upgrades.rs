//! Requests with an `Upgrade` field that nothing comes of, as those of curl's `--http2` and of Java's clients. hyper
//! takes their connections for ones that may become something else.

use std::time::Duration;

use server::Timeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{PATIENT, SHORT, ends_with_body, parked, read_to_end, run, start};
use crate::tls::{Tls, all};

const LONG: Duration = Duration::from_secs(20);

const UPGRADES: [&str; 2] = [
    "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\n",
];

/// Reads until the response with this content is there, and no further.
async fn response(stream: &mut TcpStream, content: &str) {
    let mut received = Vec::new();
    while !ends_with_body(&received, content) {
        let byte = timeout(LONG, stream.read_u8()).await.unwrap();
        received.push(byte.unwrap());
    }
}

/// Sends a body of 4 MB, and reads the response to it then.
async fn post(stream: &mut TcpStream, fields: &str) -> String {
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}content-length: 4000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..40 {
        stream.write_all(&[b'x'; 100_000]).await.unwrap();
        sleep(SHORT / 100).await;
    }
    let mut answer = String::new();
    let read = timeout(LONG, stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    answer
}

#[test]
fn an_upload_with_an_upgrade_field_does_not_cost_the_client_its_response() {
    run(async {
        let running = start("early", PATIENT, 16).await;
        for upgrade in UPGRADES {
            for _ in 0..5 {
                let mut stream = TcpStream::connect(running.address).await.unwrap();
                let answer = post(&mut stream, upgrade).await;
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
                assert!(ends_with_body(&answer, "early\n"), "{answer}");
                // With another request before, hyper still remembers.
                let mut stream = TcpStream::connect(running.address).await.unwrap();
                let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                response(&mut stream, "early\n").await;
                let answer = post(&mut stream, "").await;
                assert!(ends_with_body(&answer, "early\n"), "{answer}");
            }
        }
    });
}

#[test]
fn a_connection_with_an_upgrade_field_has_an_orderly_end_over_tls() {
    run(async {
        let tls = Tls::start("hello", PATIENT).await;
        for upgrade in UPGRADES {
            let mut stream = tls.connect().await;
            let request =
                format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}connection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (text, is_complete) = all(&mut stream).await;
            assert!(ends_with_body(&text, "Hello, world!\n"), "{text}");
            assert!(is_complete, "{upgrade}");
        }
    });
}

#[test]
fn a_connection_with_an_upgrade_field_is_reset_by_nothing_that_hyper_refuses_later() {
    run(async {
        let running = start("hello", PATIENT, 16).await;
        for upgrade in UPGRADES {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            response(&mut stream, "Hello, world!\n").await;
            let long_field = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(400_000));
            for piece in long_field.as_bytes().chunks(50_000) {
                stream.write_all(piece).await.unwrap();
                sleep(SHORT / 100).await;
            }
            let mut answer = String::new();
            let read = timeout(LONG, stream.read_to_string(&mut answer));
            read.await.unwrap().unwrap();
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
    });
}

#[test]
fn a_connection_with_an_upgrade_field_is_parked_and_times_out_as_others() {
    run(async {
        let timeouts = Timeouts {
            park_after: SHORT / 10,
            idle: SHORT * 5,
            ..PATIENT
        };
        let running = start("hello", timeouts, 16).await;
        for upgrade in UPGRADES {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            for _ in 0..3 {
                let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                response(&mut stream, "Hello, world!\n").await;
                parked(&running.server).await;
            }
            assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 408 "));
        }
    });
}

//! Bodies of requests in small pieces.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    PATIENT, ends_with_body, read_to_end, run, run_on_one_thread, start, start_proxy,
};

const CHUNKED: &str =
    "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn small_chunks_that_come_together_are_passed_on_together() {
    run_on_one_thread(async {
        // More than is read ahead to learn the length of a short body.
        const PIECES: usize = 100_000;
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_server, address) = start_proxy(upstream.local_addr().unwrap(), PATIENT).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let sending = tokio::spawn(async move {
            let body = "1\r\nx\r\n".repeat(PIECES);
            let request = [CHUNKED, &body, "0\r\n\r\n"].concat();
            client.write_all(request.as_bytes()).await.unwrap();
            client
        });
        let (mut connection, _) = upstream.accept().await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n0\r\n\r\n") {
            let read = connection.read_buf(&mut received);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await;
            assert!(read.unwrap().unwrap() > 0);
        }
        drop(sending.await.unwrap());
        let head = received
            .windows(4)
            .position(|it| it == b"\r\n\r\n")
            .unwrap();
        let body = &received[head + 4..];
        let content = body.iter().filter(|byte| **byte == b'x').count();
        let lines = body.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(content, PIECES);
        assert!(lines < PIECES / 10, "{} chunks", lines / 2);
    });
}

#[test]
fn a_small_chunk_that_is_alone_is_passed_on_at_once() {
    run(async {
        let running = start("echo", PATIENT, 16).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(CHUNKED.as_bytes()).await.unwrap();
        let mut received = String::new();
        for number in 0..50 {
            let piece = format!("<{number}>");
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(chunk.as_bytes()).await.unwrap();
            while !received.contains(&piece) {
                let mut bytes = [0; 4096];
                let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut bytes));
                let length = read.await.unwrap().unwrap();
                received.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
            }
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        assert!(read_to_end(&mut stream).await.ends_with("0\r\n\r\n"));
    });
}

#[test]
fn small_chunks_arrive_whole_and_their_errors_after_them() {
    run(async {
        let running = start("count", PATIENT, 16).await;
        let pieces = "1\r\nx\r\n".repeat(30_000);
        let large = format!("1000\r\n{}\r\n", "y".repeat(4096));
        for (body, answer) in [
            (format!("{pieces}0\r\n\r\n"), "30000\n"),
            (format!("{pieces}{large}{pieces}0\r\n\r\n"), "64096\n"),
            (format!("{large}1\r\nx\r\n0\r\nt: v\r\n\r\n"), "4097\n"),
        ] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let request = [CHUNKED, &body].concat();
            stream.write_all(request.as_bytes()).await.unwrap();
            let received = read_to_end(&mut stream).await;
            assert!(ends_with_body(&received, answer), "{received}");
        }
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = [CHUNKED, &pieces, "nonsense\r\n"].concat();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 400 "));
        assert_eq!(running.application.active(), 0);
    });
}

#[test]
fn small_chunks_of_an_upstream_that_come_together_are_passed_on_together() {
    run_on_one_thread(async {
        const PIECES: usize = 20_000;
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_server, address) = start_proxy(upstream.local_addr().unwrap(), PATIENT).await;
        let answering = tokio::spawn(async move {
            let (mut connection, _) = upstream.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let answer = [head, &"1\r\nx\r\n".repeat(PIECES), "0\r\n\r\n"].concat();
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let received = read_to_end(&mut client).await;
        drop(answering.await.unwrap());
        let (_, body) = received.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.matches('x').count(), PIECES);
        assert!(body.ends_with("\r\n0\r\n\r\n"));
        let chunks = body.lines().count() / 2;
        assert!(chunks < PIECES / 8, "{chunks} chunks");
    });
}

#[test]
fn small_frames_of_http2_arrive_whole() {
    run_on_one_thread(async {
        // More than h2 lets be unread.
        const PIECES: usize = 20_000;
        let running = start("count", PATIENT, 16).await;
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://a/").body(()).unwrap();
        let (response, mut body) = requests.send_request(request, false).unwrap();
        for _ in 0..PIECES {
            body.send_data(bytes::Bytes::from_static(b"x"), false)
                .unwrap();
        }
        body.send_data(bytes::Bytes::new(), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut answer = Vec::new();
        while let Some(piece) = body.data().await {
            answer.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(answer, b"20000\n");
        // A body that has no bytes, but a frame for its end.
        requests = requests.ready().await.unwrap();
        let request = http::Request::post("http://a/").body(()).unwrap();
        let (response, mut body) = requests.send_request(request, false).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        body.send_data(bytes::Bytes::new(), true).unwrap();
        let response = tokio::time::timeout(Duration::from_secs(20), response).await;
        assert_eq!(response.unwrap().unwrap().status(), 200);
    });
}

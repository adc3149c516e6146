//! How long a connection may be silent before its first request, and without one.

use std::time::{Duration, Instant};

use h2::client::SendRequest;
use server::Timeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::frames::PREFACE;
use crate::support::{NEVER, PATIENT, run, start};
use crate::tls::Tls;

const LIMIT: Duration = Duration::from_millis(1500);

/// Only the time for the first request is short.
const SHORT_FIRST: Timeouts = Timeouts {
    header_read: LIMIT,
    ..PATIENT
};

const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Reads until the server closes, and returns how long that took.
async fn closed_after(mut stream: TcpStream, begun: Instant) -> Duration {
    let mut received = Vec::new();
    let read = timeout(NEVER / 2, stream.read_to_end(&mut received)).await;
    let _ = read.unwrap();
    begun.elapsed()
}

#[track_caller]
fn assert_in_time(took: Duration, limit: Duration, what: &str) {
    assert!(
        took >= limit - Duration::from_millis(50),
        "{what}: {took:?}"
    );
    assert!(took < limit + Duration::from_secs(8), "{what}: {took:?}");
}

#[test]
fn a_silent_connection_is_closed_after_the_header_read_timeout() {
    run(async {
        let running = start("hello", SHORT_FIRST, 16).await;
        let tls = Tls::start("hello", SHORT_FIRST).await;
        for address in [running.address, tls.running.address] {
            let begun = Instant::now();
            let stream = TcpStream::connect(address).await.unwrap();
            let took = closed_after(stream, begun).await;
            assert_in_time(took, LIMIT, "without a byte");
        }
        // The handshake does not give it more time.
        let begun = Instant::now();
        let (stream, _) = tls.connect().await.into_inner();
        let took = closed_after(stream, begun).await;
        assert_in_time(took, LIMIT, "after the handshake");
    });
}

#[test]
fn a_silent_http2_connection_without_a_request_is_closed_after_the_header_read_timeout() {
    run(async {
        let running = start("hello", SHORT_FIRST, 16).await;
        for begin in [PREFACE, &[PREFACE, EMPTY_SETTINGS].concat()] {
            let begun = Instant::now();
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(begin).await.unwrap();
            let took = closed_after(stream, begun).await;
            assert_in_time(took, LIMIT, "without a request");
        }
        // One that speaks, but does not ask.
        let begun = Instant::now();
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (_requests, connection): (SendRequest<bytes::Bytes>, _) =
            h2::client::handshake(stream).await.unwrap();
        timeout(NEVER / 2, connection).await.unwrap().unwrap();
        assert_in_time(begun.elapsed(), LIMIT, "with pings");
    });
}

#[test]
fn time_is_shared_by_all_that_comes_before_the_first_request() {
    run(async {
        let running = start("hello", SHORT_FIRST, 16).await;
        let begun = Instant::now();
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        sleep(LIMIT / 2).await;
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let took = closed_after(stream, begun).await;
        assert_in_time(took, LIMIT, "a header that began late");
    });
}

#[test]
fn an_idle_http2_connection_is_closed_at_the_idle_timeout() {
    run(async {
        let timeouts = Timeouts {
            idle: LIMIT,
            ..PATIENT
        };
        let running = start("sleep", timeouts, 16).await;
        let stream = TcpStream::connect(running.address).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        // A request that takes longer, and one at half of the time.
        for (pause, target) in [(Duration::ZERO, "/?2000"), (LIMIT / 2, "/?1")] {
            sleep(pause).await;
            requests = requests.ready().await.unwrap();
            let request = http::Request::get(format!("http://a{target}"));
            let request = request.body(()).unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            let mut body = response.await.unwrap().into_body();
            while let Some(piece) = body.data().await {
                piece.unwrap();
            }
        }
        let begun = Instant::now();
        let _: SendRequest<bytes::Bytes> = requests;
        let ended = timeout(NEVER / 2, connection).await.unwrap();
        ended.unwrap().unwrap();
        let took = begun.elapsed();
        assert_in_time(took, LIMIT, "idle");
        // It used to be looked at once in that time.
        assert!(took < LIMIT * 3 / 2, "{took:?}");
    });
}

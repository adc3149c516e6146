//! How long a server is waited for.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use outbound::{Client, Error, Options, Timeouts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{
    Called as _, LONG, SHORT, Upstream, get, pieces, policy, read_head, read_rest, request, text,
    within,
};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn first_byte(first_byte: Duration) -> Timeouts {
    Timeouts {
        first_byte: Some(first_byte),
        ..Timeouts::default()
    }
}

/// A server that is silent after the request's head.
async fn silent() -> Upstream {
    Upstream::start(|mut stream, _| async move {
        read_rest(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn a_server_that_does_not_accept_is_a_connect_timeout() {
    // TLS that never answers is a connection that never comes to be.
    let upstream = silent().await;
    let uri = format!("https://{}/", upstream.address);
    let client = Client::with_options(
        policy(&["https://127.0.0.1:*"]),
        Options {
            roots: Some(rustls::RootCertStore::empty()),
            ..Options::default()
        },
    );
    let timeouts = Timeouts {
        connect: Some(SHORT),
        ..Timeouts::default()
    };
    let start = Instant::now();
    let error = within(client.send(request(&uri), timeouts))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout), "{error}");
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn the_time_to_connect_ends_when_tcp_is_connected() {
    // The backlog takes the connection, and it is never accepted.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = crate::support::client(&[&format!("http://{address}")]);
    let timeouts = Timeouts {
        connect: Some(LONG),
        first_byte: Some(SHORT),
        between_bytes: None,
    };
    let sending = client.send(request(&format!("http://{address}/")), timeouts);
    let error = within(sending).await.unwrap_err();
    assert!(matches!(error, Error::FirstByteTimeout), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_a_first_byte_timeout() {
    let upstream = silent().await;
    let start = Instant::now();
    let sending = upstream
        .client()
        .send(request(&upstream.uri()), first_byte(SHORT));
    let error = within(sending).await.unwrap_err();
    assert!(matches!(error, Error::FirstByteTimeout), "{error}");
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn half_a_head_is_not_a_first_byte() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.is_ok() {
            stream.flush().await.unwrap();
            read_rest(&mut stream).await;
        }
    })
    .await;
    let sending = upstream
        .client()
        .send(request(&upstream.uri()), first_byte(SHORT));
    let error = within(sending).await.unwrap_err();
    assert!(matches!(error, Error::FirstByteTimeout), "{error}");
}

#[tokio::test]
async fn an_upload_that_advances_may_take_its_time() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let mut all = Vec::new();
        while !all.ends_with(b"0\r\n\r\n") {
            all.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        read_rest(&mut stream).await;
    })
    .await;
    let (writer, body) = pieces();
    let request = Request::post(upstream.uri()).body(body).unwrap();
    let sending = upstream
        .client()
        .send(request, first_byte(Duration::from_secs(1)));
    let sending = tokio::spawn(sending);
    for _ in 0..8 {
        tokio::time::sleep(SHORT).await;
        writer.write("more");
    }
    drop(writer);
    let response = within(sending).await.unwrap().unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_stalled_body_is_a_between_bytes_timeout() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
        stream.write_all(reply).await.unwrap();
        read_rest(&mut stream).await;
    })
    .await;
    let timeouts = Timeouts {
        between_bytes: Some(SHORT),
        ..Timeouts::default()
    };
    let client = upstream.client();
    let sending = client.send(request(&upstream.uri()), timeouts);
    let mut body = within(sending).await.unwrap().into_body();
    let frame = within(body.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hello");
    // The time in which the body is not read does not count.
    tokio::time::sleep(SHORT * 2).await;
    let start = Instant::now();
    let error = within(body.frame()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::BetweenBytesTimeout), "{error}");
    assert!(start.elapsed() >= SHORT);
    assert!(within(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_slow_body_is_waited_for_piece_by_piece() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
        stream.write_all(head).await.unwrap();
        for _ in 0..6 {
            tokio::time::sleep(SHORT).await;
            stream.write_all(b"a").await.unwrap();
        }
        read_rest(&mut stream).await;
    })
    .await;
    let timeouts = Timeouts {
        between_bytes: Some(Duration::from_secs(1)),
        ..Timeouts::default()
    };
    let sending = upstream.client().send(request(&upstream.uri()), timeouts);
    let response = within(sending).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "aaaaaa");
}

#[tokio::test]
async fn extreme_timeouts_are_clamped() {
    let upstream = Upstream::replies(HELLO).await;
    let client = upstream.client();
    let all = |time| Timeouts {
        connect: Some(time),
        first_byte: Some(time),
        between_bytes: Some(time),
    };
    let sending = client.send(request(&upstream.uri()), all(Duration::MAX));
    let response = within(sending).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");

    let silent = silent().await;
    let sending = silent
        .client()
        .send(request(&silent.uri()), all(Duration::ZERO));
    let error = within(sending).await.unwrap_err();
    assert!(
        matches!(error, Error::ConnectTimeout | Error::FirstByteTimeout),
        "{error}"
    );
    // The client is still usable.
    let again = Request::get(upstream.uri()).body(Empty::new()).unwrap();
    within(client.send(again, all(LONG))).await.unwrap();
    get(&client, &upstream.uri()).await.unwrap();
}

//! Messages that break off, in both directions.

use std::time::Duration;

use http_body_util::BodyExt as _;
use proxy::ProxyError;
use socket2::SockRef;

use crate::support::{
    Fake, HELLO, Proxied as _, get, pieces, post, read_head, read_rest, text, until, within, write,
};

#[tokio::test]
async fn a_truncated_response_does_not_look_complete() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nhello",
    ] {
        let fake = Fake::replies_once(reply).await;
        let mut body = get(&fake.proxy()).await.unwrap().into_body();
        let frame = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "hello");
        let error = within(body.frame()).await.unwrap().unwrap_err();
        assert!(
            matches!(error, ProxyError::ResponseIncomplete),
            "{reply}: {error}"
        );
        assert!(within(body.frame()).await.is_none());
    }
}

#[tokio::test]
async fn a_reset_truncates_a_body_that_ends_with_the_connection() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.0 200 OK\r\n\r\nhello").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    })
    .await;
    let response = get(&fake.proxy()).await.unwrap();
    let error = text(response).await.unwrap_err();
    assert!(matches!(error, ProxyError::ResponseIncomplete), "{error}");
}

#[tokio::test]
async fn a_connection_that_ends_before_its_response_is_a_bad_gateway() {
    for reply in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let fake = Fake::replies_once(reply).await;
        let error = get(&fake.proxy()).await.unwrap_err();
        assert!(matches!(error, ProxyError::Terminated), "{reply}: {error}");
        assert_eq!(error.status(), 502);
        // It was a new connection, so that it was no accident.
        assert_eq!(fake.connections(), 1);
    }
}

#[tokio::test]
async fn an_upload_that_fails_is_cut_off_at_the_server() {
    for fields in [&[][..], &[("content-length", "10")][..]] {
        let (fake, mut received) = Fake::listens().await;
        let (writer, body) = pieces();
        writer.write("hello");
        let proxy = fake.proxy();
        let sending = tokio::spawn(async move { post(&proxy, fields, body).await });
        until(|| fake.connections() == 1).await;
        writer.fail();
        let error = sending.await.unwrap().unwrap_err();
        assert!(
            matches!(&error, ProxyError::RequestBody(inner) if inner.to_string() == "the writer left"),
            "{error}"
        );
        assert_eq!(error.status(), 400);
        let message = within(received.recv()).await.unwrap();
        assert!(!message.ends_with("0\r\n\r\n"), "{message}");
    }
}

#[tokio::test]
async fn a_cancelled_request_closes_its_connection() {
    let (fake, mut received) = Fake::listens().await;
    let (writer, body) = pieces();
    writer.write("hello");
    let proxy = fake.proxy();
    let sending = tokio::spawn(async move { post(&proxy, &[], body).await });
    until(|| fake.connections() == 1).await;
    sending.abort();
    let message = within(received.recv()).await.unwrap();
    assert!(!message.ends_with("0\r\n\r\n"), "{message}");
    until(|| writer.is_dropped()).await;
}

#[tokio::test]
async fn dropping_the_response_ends_the_upload() {
    let (sender, mut received) = tokio::sync::mpsc::channel(1);
    let fake = Fake::start(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
            )
            .await;
            sender.send(read_rest(&mut stream).await).await.unwrap();
        }
    })
    .await;
    let (writer, body) = pieces();
    let response = post(&fake.proxy(), &[], body).await.unwrap();
    assert!(!writer.is_dropped());
    drop(response);
    until(|| writer.is_dropped()).await;
    assert_eq!(within(received.recv()).await.unwrap(), "");
}

#[tokio::test]
async fn an_upload_may_continue_after_the_response() {
    let (sender, mut received) = tokio::sync::mpsc::channel(1);
    let fake = Fake::start(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            write(&mut stream, HELLO).await;
            let body = crate::support::read_to(&mut stream, "0\r\n\r\n").await;
            sender.send(body).await.unwrap();
            read_rest(&mut stream).await;
        }
    })
    .await;
    let (writer, body) = pieces();
    let proxy = fake.proxy();
    let response = post(&proxy, &[], body).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
    writer.write("late");
    drop(writer);
    assert_eq!(
        within(received.recv()).await.unwrap(),
        "4\r\nlate\r\n0\r\n\r\n"
    );
}

#[tokio::test]
async fn request_and_response_stream_at_the_same_time() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
        // Chunks are sent back as they come.
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let (writer, body) = pieces();
    let mut response = post(&fake.proxy(), &[], body).await.unwrap();
    for piece in ["one", "two", "three"] {
        writer.write(piece);
        let frame = within(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(writer);
    assert!(within(response.body_mut().frame()).await.is_none());
}

#[tokio::test]
async fn an_early_response_is_read_though_the_server_closes() {
    for round in 0..10 {
        let fake = Fake::start(move |mut stream, _| async move {
            read_head(&mut stream).await;
            write(
                &mut stream,
                "HTTP/1.1 413 A\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge",
            )
            .await;
            // What is unread makes the end a reset.
            if round % 2 == 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let (writer, body) = pieces();
        for _ in 0..1_000 {
            writer.write(PIECE);
        }
        let response = post(&fake.proxy(), &[], body).await;
        match response {
            Ok(response) => {
                assert_eq!(response.status(), 413);
                assert_eq!(text(response).await.unwrap(), "large");
            }
            // The reset may overtake the response in this machine's kernel.
            Err(error) => assert!(matches!(error, ProxyError::Terminated), "{error}"),
        }
        until(|| writer.is_dropped()).await;
    }
}

#[tokio::test]
async fn a_response_is_read_after_the_server_has_stopped_reading() {
    const LENGTH: usize = 100_000;
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let head = format!("HTTP/1.1 413 A\r\ncontent-length: {LENGTH}\r\n\r\n");
        write(&mut stream, &head).await;
        write(&mut stream, &"a".repeat(LENGTH)).await;
        // What is unread makes this a reset.
    })
    .await;
    let (writer, body) = pieces();
    for _ in 0..1_000 {
        writer.write(PIECE);
    }
    let response = post(&fake.proxy(), &[], body).await.unwrap();
    assert_eq!(response.status(), 413);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(text(response).await.unwrap().len(), LENGTH);
    until(|| writer.is_dropped()).await;
}

const PIECE: &str = match std::str::from_utf8(&[b'a'; 8192]) {
    Ok(piece) => piece,
    Err(_) => "",
};

//! Bodies in both directions, whole and cut off.

use http_body_util::BodyExt as _;
use outbound::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    Called as _, Upstream, full, get, pieces, post, read_head, read_rest, text, until, within,
    written,
};

#[tokio::test]
async fn an_announced_body_is_sent_as_announced() {
    for body in [
        written(&["hello", "world"]),
        written(&["", "helloworld", ""]),
    ] {
        let (upstream, mut received) = Upstream::answers_after("helloworld").await;
        let length = [("content-length", "10")];
        post(&upstream.client(), &upstream.uri(), &length, body)
            .await
            .unwrap();
        let message = received.recv().await.unwrap();
        assert!(message.contains("content-length: 10\r\n"), "{message}");
        assert!(!message.contains("transfer-encoding"), "{message}");
    }
    let (upstream, mut received) = Upstream::answers_after("hello").await;
    post(&upstream.client(), &upstream.uri(), &[], full("hello"))
        .await
        .unwrap();
    assert!(
        received
            .recv()
            .await
            .unwrap()
            .contains("content-length: 5\r\n")
    );
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_cut_off() {
    for (length, body, announced) in [
        ("10", written(&["hello"]), 10),
        ("10", written(&[]), 10),
        ("10", written(&["hello", "world", "!"]), 10),
        ("10", written(&["helloworld", "!"]), 10),
        ("10", written(&["helloworld!"]), 10),
        ("5", written(&["hello", "", "!"]), 5),
        ("0", written(&["hello"]), 0),
        ("18446744073709551615", written(&["hello"]), u64::MAX),
    ] {
        let (upstream, mut received) = Upstream::listens().await;
        let fields = [("content-length", length)];
        let error = post(&upstream.client(), &upstream.uri(), &fields, body)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::RequestBodySize { announced: reported } if reported == announced),
            "{length}: {error}"
        );
        if announced == 0 {
            assert_eq!(upstream.connections(), 0);
            continue;
        }
        let message = within(received.recv()).await.unwrap();
        if let Some((_, body)) = message.split_once("\r\n\r\n") {
            assert!((body.len() as u64) < announced, "{message}");
        }
    }
    // The same when the body itself knew its length.
    let (upstream, mut received) = Upstream::listens().await;
    let fields = [("content-length", "10")];
    let sent = post(&upstream.client(), &upstream.uri(), &fields, full("hello")).await;
    assert!(matches!(
        sent,
        Err(Error::RequestBodySize { announced: 10 })
    ));
    within(received.recv()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_fails_cuts_the_connection() {
    let (upstream, mut received) = Upstream::listens().await;
    let (writer, body) = pieces();
    writer.write("hello");
    let client = upstream.client();
    let uri = upstream.uri();
    let sending = tokio::spawn(async move { post(&client, &uri, &[], body).await });
    until(|| upstream.connections() == 1).await;
    writer.fail();
    let error = sending.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, Error::RequestBody(inner) if inner.to_string() == "the writer left"),
        "{error}"
    );
    let message = within(received.recv()).await.unwrap();
    assert!(!message.ends_with("0\r\n\r\n"), "{message}");
}

#[tokio::test]
async fn request_and_response_stream_at_the_same_time() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        // Chunks are sent back as they come.
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..length]).await.unwrap();
        }
    })
    .await;
    let (writer, body) = pieces();
    let mut response = post(&upstream.client(), &upstream.uri(), &[], body)
        .await
        .unwrap();
    for piece in ["one", "two", "three"] {
        writer.write(piece);
        let frame = within(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(writer);
    assert!(within(response.body_mut().frame()).await.is_none());
}

#[tokio::test]
async fn dropping_the_response_ends_the_upload() {
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
            .await
            .unwrap();
        read_rest(&mut stream).await;
    })
    .await;
    let (writer, body) = pieces();
    let response = post(&upstream.client(), &upstream.uri(), &[], body)
        .await
        .unwrap();
    assert!(!writer.is_dropped());
    drop(response);
    until(|| writer.is_dropped()).await;
}

#[tokio::test]
async fn a_truncated_response_does_not_look_complete() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nhello",
    ] {
        let upstream = Upstream::replies_once(reply).await;
        let response = get(&upstream.client(), &upstream.uri()).await.unwrap();
        let mut body = response.into_body();
        let frame = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "hello");
        let error = within(body.frame()).await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::ResponseIncomplete),
            "{reply}: {error}"
        );
        assert!(within(body.frame()).await.is_none());
    }
}

#[tokio::test]
async fn malformed_chunks_are_a_protocol_error() {
    let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
    let upstream = Upstream::replies_once(reply).await;
    let response = get(&upstream.client(), &upstream.uri()).await.unwrap();
    let error = text(response).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
}

#[tokio::test]
async fn trailers_come_through() {
    let reply =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
    let upstream = Upstream::replies(reply).await;
    let response = get(&upstream.client(), &upstream.uri()).await.unwrap();
    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
}

//! How the length of a request's body is announced to a server: not at all, by `content-length`, or by chunks.

use bytes::Bytes;
use http::Version;
use http_body::Body;
use proxy::BoxError;
use tokio::sync::mpsc;

use crate::support::{
    Fake, HELLO, Proxied as _, empty, exchange, pieces, read_head, read_rest, read_to, request,
    send, text, until, within, write, written,
};

const CHUNKED: &[(&str, &str)] = &[("transfer-encoding", "chunked")];

/// What a server gets of a request, up to `end` behind its head.
async fn received(
    method: &str,
    fields: &[(&str, &str)],
    body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    end: &'static str,
) -> String {
    let (fake, mut received) = Fake::answers_after(end).await;
    let mut request = request(method, fields).body(body).unwrap();
    if fields.is_empty() {
        *request.version_mut() = Version::HTTP_2;
    }
    send(&fake.proxy(), request).await.unwrap();
    within(received.recv()).await.unwrap()
}

fn expected(method: &str, framing: &str, body: &str) -> String {
    format!("{method} /path?query HTTP/1.1\r\nhost: a.example:8080\r\n{framing}\r\n{body}")
}

#[tokio::test]
async fn a_request_without_a_body_has_no_framing_but_a_content_length_of_0_where_one_is_usual() {
    const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    for (method, framing) in [
        ("GET", ""),
        ("HEAD", ""),
        ("DELETE", ""),
        ("OPTIONS", ""),
        ("PROPFIND", ""),
        ("POST", "content-length: 0\r\n"),
        ("PUT", "content-length: 0\r\n"),
        ("PATCH", "content-length: 0\r\n"),
    ] {
        let (head, _) = exchange(method, &[], NO_CONTENT).await;
        assert_eq!(head, expected(method, framing, ""));
        // The same where that turns out only when the body is read: an HTTP/2 stream that an empty DATA
        // frame ends, or no chunks.
        for client in [&[][..], CHUNKED] {
            for pieces in [&[][..], &[""]] {
                let message = received(method, client, written(pieces), "").await;
                assert_eq!(message, expected(method, framing, ""), "{client:?}");
            }
        }
    }
    let (head, _) = exchange("GET", &[("content-length", "0")], NO_CONTENT).await;
    assert_eq!(head, expected("GET", "content-length: 0\r\n", ""));
}

#[tokio::test]
async fn an_empty_data_frame_of_a_get_may_come_late() {
    let (writer, body) = pieces();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        writer.write("");
    });
    let message = received("GET", &[], body, "").await;
    assert_eq!(message, expected("GET", "", ""));
}

#[tokio::test]
async fn a_body_that_has_come_whole_has_a_content_length() {
    for method in ["POST", "GET", "HEAD", "DELETE"] {
        for client in [&[][..], CHUNKED, &[("transfer-encoding", "Chunked")]] {
            let body = written(&["hello", "", "world"]);
            let message = received(method, client, body, "helloworld").await;
            let framing = "content-length: 10\r\n";
            assert_eq!(message, expected(method, framing, "helloworld"));
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_whole_is_sent_with_its_length_on_kept_connections_too() {
    let (fake, mut received) = Fake::answers_after("hello").await;
    let proxy = fake.proxy();
    for _ in 0..3 {
        let request = request("POST", CHUNKED).body(written(&["hel", "lo"]));
        let response = send(&proxy, request.unwrap()).await.unwrap();
        text(response).await.unwrap();
        let message = within(received.recv()).await.unwrap();
        assert_eq!(message, expected("POST", "content-length: 5\r\n", "hello"));
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn a_retry_sends_a_body_of_unknown_length_that_has_not_begun() {
    let (sender, mut received) = mpsc::channel(2);
    let fake = Fake::start(move |mut stream, number| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            if number == 0 {
                write(&mut stream, HELLO).await;
                // Closed when the second request comes, without an answer.
                let head = read_head(&mut stream).await;
                sender.send(head.unwrap_or_default()).await.unwrap();
                return;
            }
            let body = read_to(&mut stream, "0\r\n\r\n").await;
            write(&mut stream, HELLO).await;
            sender.send(body).await.unwrap();
            read_rest(&mut stream).await;
        }
    })
    .await;
    let proxy = fake.proxy();
    let first = request("GET", &[]).body(empty()).unwrap();
    text(send(&proxy, first).await.unwrap()).await.unwrap();
    let (writer, body) = pieces();
    let second = request("PUT", CHUNKED).body(body).unwrap();
    let sending = tokio::spawn(async move { text(send(&proxy, second).await?).await });
    until(|| fake.connections() == 2).await;
    writer.write("hello");
    drop(writer);
    assert_eq!(sending.await.unwrap().unwrap(), "hello");
    let first = within(received.recv()).await.unwrap();
    assert!(first.starts_with("PUT "), "{first}");
    let body = within(received.recv()).await.unwrap();
    assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_body_that_pauses_is_sent_in_chunks() {
    for client in [&[][..], CHUNKED] {
        let (fake, mut received) = Fake::answers_after("0\r\n\r\n").await;
        let (writer, body) = pieces();
        writer.write("hello");
        let request = request("POST", client).body(body).unwrap();
        let proxy = fake.proxy();
        let sending = tokio::spawn(async move { send(&proxy, request).await });
        until(|| fake.connections() == 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        writer.write("world");
        drop(writer);
        sending.await.unwrap().unwrap();
        let message = within(received.recv()).await.unwrap();
        let (framing, body) = (
            "transfer-encoding: chunked\r\n",
            "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
        );
        assert_eq!(message, expected("POST", framing, body));
    }
}

#[tokio::test]
async fn an_early_response_does_not_wait_for_the_body() {
    let fake = Fake::replies(HELLO).await;
    let (writer, body) = pieces();
    let request = request("POST", CHUNKED).body(body).unwrap();
    let response = send(&fake.proxy(), request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!writer.is_dropped());
}

#[tokio::test]
async fn a_body_longer_than_what_is_read_ahead_is_sent_in_chunks() {
    let long: &str = "0123456789abcdef".repeat(4096).leak();
    let message = received("POST", CHUNKED, written(&[long, "!"]), "0\r\n\r\n").await;
    assert!(message.contains("\r\ntransfer-encoding: chunked\r\n\r\n"));
    let message = received("POST", CHUNKED, written(&[&long[1..]]), "f").await;
    assert!(message.contains("\r\ncontent-length: 65535\r\n\r\n"));
}

#[tokio::test]
async fn trailers_that_are_not_announced_do_not_hold_the_response_back() {
    let (fake, mut received) = Fake::answers_after("hello").await;
    let (writer, body) = pieces();
    writer.write("hello");
    writer.trailer("x-sum", "1");
    drop(writer);
    let proxy = fake.proxy();
    let request = request("POST", CHUNKED).body(body).unwrap();
    text(send(&proxy, request).await.unwrap()).await.unwrap();
    let message = within(received.recv()).await.unwrap();
    assert!(
        message.ends_with("\r\ncontent-length: 5\r\n\r\nhello"),
        "{message}"
    );
}

#[tokio::test]
async fn a_body_that_fails_before_it_is_sent_never_reaches_the_server() {
    let (fake, mut received) = Fake::listens().await;
    let (writer, body) = pieces();
    writer.write("hello");
    writer.fail();
    let request = request("POST", CHUNKED).body(body).unwrap();
    let error = send(&fake.proxy(), request).await.unwrap_err();
    assert!(
        matches!(error, proxy::ProxyError::RequestBody(_)),
        "{error}"
    );
    drop(fake);
    if let Ok(Some(message)) =
        tokio::time::timeout(std::time::Duration::from_millis(100), received.recv()).await
    {
        assert_eq!(message, "");
    }
}

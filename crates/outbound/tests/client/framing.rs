//! How the length of a request's body is announced: not at all, by `content-length`, or by chunks.

use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::Empty;
use outbound::{BoxError, Client, Error, Timeouts};
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Called as _, Upstream, full, pieces, post, read_head, read_rest, within, written,
};

/// The methods whose requests usually have a body.
const WITH_BODY: [&str; 3] = ["POST", "PUT", "PATCH"];
const WITHOUT_BODY: [&str; 6] = ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];

async fn send(
    client: &Client,
    method: &str,
    uri: &str,
    fields: &[(&str, &str)],
    body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
) -> Result<(), Error> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    within(client.send(request, Timeouts::default())).await?;
    Ok(())
}

/// What a server gets of a request, up to `end` behind its head: the lines that frame it, and its body.
async fn framing(
    method: &str,
    fields: &[(&str, &str)],
    body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    end: &'static str,
) -> (Vec<String>, String) {
    let (upstream, mut received) = Upstream::answers_after(end).await;
    send(&upstream.client(), method, &upstream.uri(), fields, body)
        .await
        .unwrap();
    let message = within(received.recv()).await.unwrap();
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let is_framing = |line: &&str| {
        ["content-length:", "transfer-encoding:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let lines = head.lines().filter(is_framing).map(str::to_owned);
    (lines.collect(), body.to_owned())
}

#[tokio::test]
async fn an_empty_body_has_no_framing_but_a_content_length_of_0_where_one_is_usual() {
    for method in WITHOUT_BODY {
        assert!(framing(method, &[], Empty::new(), "").await.0.is_empty());
        for pieces in [&[][..], &[""], &["", ""]] {
            let (lines, _) = framing(method, &[], written(pieces), "").await;
            assert!(lines.is_empty(), "{method} {lines:?}");
        }
    }
    for method in WITH_BODY {
        let expected = ["content-length: 0"];
        assert_eq!(framing(method, &[], Empty::new(), "").await.0, expected);
        for pieces in [&[][..], &[""], &["", ""]] {
            let (lines, _) = framing(method, &[], written(pieces), "").await;
            assert_eq!(lines, expected, "{method}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_written_without_a_pause_has_a_content_length() {
    for method in WITH_BODY.into_iter().chain(WITHOUT_BODY) {
        let body = written(&["hello", "", "world"]);
        let (lines, body) = framing(method, &[], body, "helloworld").await;
        assert_eq!(lines, ["content-length: 10"], "{method}");
        assert_eq!(body, "helloworld");
    }
}

#[tokio::test]
async fn a_body_whose_writer_only_gets_its_turns_has_a_content_length() {
    let (writer, body) = pieces();
    tokio::spawn(async move {
        for piece in ["he", "l", "lo"] {
            tokio::task::yield_now().await;
            writer.write(piece);
        }
        tokio::task::yield_now().await;
    });
    let (lines, body) = framing("POST", &[], body, "hello").await;
    assert_eq!(
        (lines, &*body),
        (vec!["content-length: 5".to_owned()], "hello")
    );
}

#[tokio::test]
async fn a_get_that_ends_late_without_a_body_has_no_framing() {
    for method in ["GET", "DELETE"] {
        let (writer, body) = pieces();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            drop(writer);
        });
        let (lines, _) = framing(method, &[], body, "").await;
        assert!(lines.is_empty(), "{method} {lines:?}");
    }
}

#[tokio::test]
async fn a_body_that_pauses_is_sent_in_chunks() {
    let upstream = Upstream::start(|mut stream, _| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        let reply = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(reply.as_bytes()).await.unwrap();
        read_rest(&mut stream).await;
    })
    .await;
    // The response is there before the body continues: a writer that waits for it must not be waited for.
    for (method, begin) in [
        ("POST", ""),
        ("POST", "hello"),
        ("GET", "hello"),
        ("GET", ""),
    ] {
        let (writer, body) = pieces();
        writer.write(begin);
        send(&upstream.client(), method, &upstream.uri(), &[], body)
            .await
            .unwrap();
        writer.write("world");
    }
}

#[tokio::test]
async fn a_body_longer_than_what_is_read_ahead_is_sent_in_chunks() {
    let long: &str = "0123456789abcdef".repeat(4096).leak();
    let (lines, _) = framing("POST", &[], written(&[long, "!"]), "0\r\n\r\n").await;
    assert_eq!(lines, ["transfer-encoding: chunked"]);
}

#[tokio::test]
async fn trailers_that_are_announced_need_chunks() {
    for (fields, expected, end) in [
        (
            &[("trailer", "x-sum")][..],
            "transfer-encoding: chunked",
            "x-sum: 1\r\n\r\n",
        ),
        (&[], "content-length: 5", "hello"),
    ] {
        let (writer, body) = pieces();
        writer.write("hello");
        writer.trailer("x-sum", "1");
        drop(writer);
        let (lines, _) = framing("POST", fields, body, end).await;
        assert_eq!(lines, [expected]);
    }
}

#[tokio::test]
async fn a_content_length_that_is_set_is_kept_and_held_against_the_body() {
    let length = [("content-length", "5")];
    let (lines, _) = framing("POST", &length, full("hello"), "hello").await;
    assert_eq!(lines, ["content-length: 5"]);
    let (lines, _) = framing("GET", &[("content-length", "0")], written(&[]), "").await;
    assert_eq!(lines, ["content-length: 0"]);
    let (upstream, _received) = Upstream::listens().await;
    let (client, uri) = (upstream.client(), upstream.uri());
    let sent = post(&client, &uri, &length, written(&["hi"]));
    assert!(matches!(
        sent.await,
        Err(Error::RequestBodySize { announced: 5 })
    ));
}

#[tokio::test]
async fn te_is_sent_as_a_hop_by_hop_field() {
    let (upstream, mut received) = Upstream::answers_after("").await;
    let fields = [("te", "trailers, deflate")];
    send(
        &upstream.client(),
        "GET",
        &upstream.uri(),
        &fields,
        Empty::new(),
    )
    .await
    .unwrap();
    let head = within(received.recv()).await.unwrap();
    assert!(head.contains("\r\nte: trailers\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: te\r\n"), "{head}");
}

//! Framing in both directions, and smuggling: messages that could be read in two ways are refused.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use proxy::ProxyError;

use crate::support::{
    Fake, Proxied as _, empty, exchange, fields, full, get, outcome, pieces, post, read_head,
    read_rest, request, send, text, until, within, write, written,
};

fn body_of(message: &str) -> &str {
    message.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn an_announced_body_is_sent_as_announced() {
    for (fields, body) in [
        (
            &[("content-length", "10")][..],
            written(&["hello", "world"]),
        ),
        (
            &[("content-length", "10"), ("content-length", "10")],
            written(&["", "helloworld", ""]),
        ),
        (&[("content-length", "10, 10")], written(&["helloworld"])),
    ] {
        let (fake, mut received) = Fake::answers_after("helloworld").await;
        post(&fake.proxy(), fields, body).await.unwrap();
        let expected = "POST /path?query HTTP/1.1\r\nhost: a.example:8080\r\n\
                        content-length: 10\r\n\r\nhelloworld";
        assert_eq!(received.recv().await.unwrap(), expected);
    }
    let (fake, mut received) = Fake::answers_after("hello").await;
    post(&fake.proxy(), &[], full("hello")).await.unwrap();
    let message = received.recv().await.unwrap();
    assert!(message.contains("content-length: 5\r\n"), "{message}");
}

#[tokio::test]
async fn request_smuggling_a_request_with_ambiguous_framing_is_not_sent() {
    for fields in [
        &[("content-length", "5"), ("content-length", "6")][..],
        &[("content-length", "5, 6")],
        &[("content-length", "+5")],
        &[("content-length", "5 5")],
        &[("content-length", "0x5")],
        &[("content-length", "")],
        &[("content-length", "5,")],
        &[("content-length", "99999999999999999999")],
        &[("content-length", "5"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "gzip, chunked")],
        &[("transfer-encoding", "chunked, chunked")],
        &[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
        &[("transfer-encoding", "identity")],
        &[("transfer-encoding", "")],
        &[("transfer-encoding", "xchunked")],
        &[("transfer-encoding", "chunked;a=b")],
    ] {
        let (fake, _received) = Fake::listens().await;
        let error = post(&fake.proxy(), fields, written(&["hello"]))
            .await
            .unwrap_err();
        assert!(matches!(error, ProxyError::RequestFraming(_)), "{fields:?}");
        assert_eq!(error.status(), 400);
        assert_eq!(fake.connections(), 0);
    }
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
        ("18446744073709551615", written(&["hello"]), u64::MAX),
    ] {
        let (fake, mut received) = Fake::listens().await;
        let error = post(&fake.proxy(), &[("content-length", length)], body)
            .await
            .unwrap_err();
        assert!(
            matches!(error, ProxyError::RequestBodySize { announced: reported } if reported == announced),
            "{length}: {error}"
        );
        let message = within(received.recv()).await.unwrap();
        if let Some((_, body)) = message.split_once("\r\n\r\n") {
            assert!((body.len() as u64) < announced, "{message}");
        }
    }
    let (fake, mut received) = Fake::listens().await;
    let sent = post(&fake.proxy(), &[("content-length", "10")], empty()).await;
    assert!(matches!(
        sent,
        Err(ProxyError::RequestBodySize { announced: 10 })
    ));
    let message = within(received.recv()).await.unwrap();
    assert!(!message.contains("\r\n\r\n") || body_of(&message).is_empty());
}

#[tokio::test]
async fn trailers_of_a_request_come_through_if_they_are_announced() {
    let (fake, mut received) = Fake::answers_after("\r\n\r\n").await;
    let (writer, body) = pieces();
    writer.write("hello");
    writer.trailer("x-sum", "1");
    drop(writer);
    post(&fake.proxy(), &[("trailer", "x-sum, content-length")], body)
        .await
        .unwrap();
    let message = received.recv().await.unwrap();
    assert_eq!(body_of(&message), "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
}

#[tokio::test]
async fn responses_end_where_they_say() {
    for (reply, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, and more",
            "hello",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
            "hello",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nand more",
            "hello",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n005;a=\"b\"\r\nhello\r\n00\r\n\r\n",
            "hello",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "hello"),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello"),
        // Unit's own test has such a server; the framing of what is forwarded is written again.
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "hello"),
        ("HTTP/1.1 204 No Content\r\n\r\nhello", ""),
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
            "",
        ),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", ""),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "hello",
        ),
        (
            "HTTP/1.1 100 Continue\r\ncontent-length: 9\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "hello",
        ),
    ] {
        let (head, text) = outcome(reply).await.unwrap();
        assert_eq!(text, body, "{reply}");
        let lengths = head.headers().get_all("content-length").iter().count();
        let length = head.headers().get("content-length");
        if head.status() == 200 {
            let received = reply.to_lowercase().contains("\ncontent-length: ");
            assert_eq!(lengths, usize::from(received), "{reply}");
            if received {
                assert_eq!(*length.unwrap(), body.len().to_string(), "{reply}");
            }
        }
        assert!(head.headers().get("transfer-encoding").is_none(), "{reply}");
        assert_eq!(head.version(), http::Version::HTTP_11);
    }
}

#[tokio::test]
async fn response_smuggling_a_response_with_ambiguous_framing_is_rejected() {
    for fields in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: 5 5",
        "content-length: 0x5",
        "content-length:",
        "content-length: -1",
        "content-length: 99999999999999999999",
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity",
        "transfer-encoding: gzip",
        "transfer-encoding: xchunked",
        "transfer-encoding:\x0bchunked",
        "transfer-encoding : chunked",
        "transfer-encoding\r\n : chunked",
        // Folded lines, and invalid line ends.
        "x-folded: a\r\n b\r\ncontent-length: 5",
        "x-folded: a\r\n\tcontent-length: 5",
        " content-length: 5",
        "x-bare: a\rcontent-length: 5",
        "x-nul: a\0b",
        "x\r-name: a",
        ": no name",
        "no colon",
        "bad name: a",
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let error = outcome(&reply).await.unwrap_err();
        assert!(
            matches!(error, ProxyError::Protocol(_)),
            "{fields}: {error}"
        );
        assert_eq!(error.status(), 502);
    }
    // hyper keeps the largest numbers for itself.
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nhello";
    let error = outcome(reply).await.unwrap_err();
    assert_eq!(error.status(), 502);
    // HTTP/1.0 has no chunks.
    let reply = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let error = outcome(reply).await.unwrap_err();
    assert!(matches!(error, ProxyError::Protocol(_)), "{error}");
}

#[tokio::test]
async fn a_malformed_response_is_a_bad_gateway() {
    for reply in [
        "hello",
        "\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 2000 High\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
    ] {
        let error = outcome(reply).await.unwrap_err();
        assert!(
            matches!(error, ProxyError::Protocol(_) | ProxyError::Terminated),
            "{reply}: {error}"
        );
        assert_eq!(error.status(), 502);
    }
}

#[tokio::test]
async fn the_header_section_of_a_response_is_limited() {
    let fields = |count: usize, length: usize| {
        let fields: String = (0..count)
            .map(|at| format!("x-{at}: {}\r\n", "a".repeat(length)))
            .collect();
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: 5\r\n\r\nhello")
    };
    assert_eq!(outcome(&fields(60, 1_000)).await.unwrap().1, "hello");
    assert_eq!(outcome(&fields(255, 1)).await.unwrap().1, "hello");
    for reply in [fields(70, 1_000), fields(1, 70_000), fields(257, 1)] {
        let error = outcome(&reply).await.unwrap_err();
        assert!(
            matches!(error, ProxyError::ResponseHeaderTooLarge),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains("65536 bytes or 256 fields"), "{text}");
        assert_eq!(error.status(), 502);
    }
}

#[tokio::test]
async fn malformed_chunks_cut_the_body_off() {
    for rest in [
        "xyz\r\n",
        "5 5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "10000000000000000\r\nhello",
        "FFFFFFFFFFFFFFFF0\r\nhello",
        "0\r\nno colon\r\n\r\n",
        "0\r\n\n",
        "0\r\n\rX",
    ] {
        let reply =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n{rest}");
        let fake = Fake::replies_once(reply).await;
        let mut body = get(&fake.proxy()).await.unwrap().into_body();
        let mut seen = Vec::new();
        let error = loop {
            match within(body.frame()).await {
                Some(Ok(frame)) => seen.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => break error,
                None => panic!("{rest}: it looks whole"),
            }
        };
        assert!(seen.starts_with(b"first"), "{rest}");
        assert!(
            matches!(
                error,
                ProxyError::Protocol(_) | ProxyError::ResponseIncomplete
            ),
            "{rest}: {error}"
        );
        assert!(within(body.frame()).await.is_none());
    }
}

#[tokio::test]
async fn trailers_come_through_but_for_what_may_not_be_there() {
    let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                 5\r\nhello\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\ntransfer-encoding: a\r\nset-cookie: a=b\r\n\r\n";
    let fake = Fake::replies(reply).await;
    let response = get(&fake.proxy()).await.unwrap();
    assert_eq!(fields(response.headers()), ["trailer: x-sum"]);
    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(fields(collected.trailers().unwrap()), ["x-sum: 1"]);
    assert_eq!(collected.to_bytes(), "hello");
}

#[tokio::test]
async fn a_response_to_head_keeps_its_length_and_has_no_body() {
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let (_, response) = exchange("HEAD", &[], reply).await;
    let response = response.unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(text(response).await.unwrap(), "");

    let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (_, response) = exchange("HEAD", &[], reply).await;
    let response = response.unwrap();
    assert!(response.headers().is_empty());
    assert_eq!(text(response).await.unwrap(), "");

    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n";
    let (_, response) = exchange("HEAD", &[], reply).await;
    assert!(matches!(response, Err(ProxyError::Protocol(_))));

    let (_, response) = exchange("GET", &[], "HTTP/1.1 304 A\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(response.unwrap().headers()["content-length"], "5");
    let (_, response) = exchange("GET", &[], "HTTP/1.1 204 A\r\ncontent-length: 5\r\n\r\n").await;
    assert!(response.unwrap().headers().is_empty());
}

#[tokio::test]
async fn response_smuggling_bytes_after_a_response_do_not_become_the_next_one() {
    const FORGED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for first in [
        HELLO_AND_MORE,
        "HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
    ] {
        let fake = Fake::start(move |mut stream, number| async move {
            read_head(&mut stream).await;
            if number == 0 {
                write(&mut stream, first).await;
                write(&mut stream, FORGED).await;
            } else {
                write(&mut stream, crate::support::HELLO).await;
            }
            read_rest(&mut stream).await;
        })
        .await;
        let proxy = fake.proxy();
        text(get(&proxy).await.unwrap()).await.unwrap();
        // It may still be on its way.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let second = text(get(&proxy).await.unwrap()).await.unwrap();
        assert_eq!(second, "hello", "{first}");
        assert_eq!(fake.connections(), 2);
    }
}

const HELLO_AND_MORE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn expect_100_continue_waits_for_the_server() {
    let (go, mut gone) = tokio::sync::mpsc::channel::<String>(1);
    let fake = Fake::start(move |mut stream, _| {
        let go = go.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            let mut early = [0; 1];
            let wait = std::time::Duration::from_millis(100);
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut early);
            let early = tokio::time::timeout(wait, read).await;
            assert!(early.is_err(), "the body did not wait");
            write(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
            let body = crate::support::read_to(&mut stream, "hello").await;
            write(&mut stream, crate::support::HELLO).await;
            go.send(head + &body).await.unwrap();
        }
    })
    .await;
    let fields = [("content-length", "5"), ("expect", "100-Continue")];
    let before = std::time::Instant::now();
    let response = post(&fake.proxy(), &fields, written(&["hello"])).await;
    assert_eq!(text(response.unwrap()).await.unwrap(), "hello");
    assert!(before.elapsed() < std::time::Duration::from_millis(900));
    let message = gone.recv().await.unwrap();
    assert!(message.contains("expect: 100-Continue\r\n"), "{message}");
}

#[tokio::test]
async fn expect_100_continue_sends_no_body_to_a_server_that_refuses() {
    let (sender, mut received) = tokio::sync::mpsc::channel(1);
    let fake = Fake::start(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            write(&mut stream, "HTTP/1.1 413 A\r\ncontent-length: 2\r\n\r\nno").await;
            sender.send(read_rest(&mut stream).await).await.unwrap();
        }
    })
    .await;
    let (writer, body) = pieces();
    writer.write("hello");
    let fields = [("content-length", "10"), ("expect", "100-continue")];
    let response = post(&fake.proxy(), &fields, body).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(text(response).await.unwrap(), "no");
    assert_eq!(within(received.recv()).await.unwrap(), "");
    until(|| writer.is_dropped()).await;
}

#[tokio::test]
async fn expect_100_continue_sends_the_body_after_a_wait() {
    let (fake, mut received) = Fake::answers_after("hello").await;
    let fields = [("content-length", "5"), ("expect", "100-continue")];
    post(&fake.proxy(), &fields, written(&["hello"]))
        .await
        .unwrap();
    received.recv().await.unwrap();
}

#[tokio::test]
async fn expect_100_continue_is_forwarded_only_where_it_is_allowed() {
    let (fake, mut received) = Fake::answers_after("hello").await;
    let fields = [("content-length", "5"), ("expect", "100-continue")];
    let mut request = request("POST", &fields).body(full("hello")).unwrap();
    *request.version_mut() = http::Version::HTTP_10;
    send(&fake.proxy(), request).await.unwrap();
    let message = received.recv().await.unwrap();
    assert!(!message.contains("expect"), "{message}");
    assert!(message.contains(" HTTP/1.1\r\n"), "{message}");

    let (head, _) = exchange("GET", &fields[1..], crate::support::HELLO).await;
    assert!(!head.contains("expect"), "{head}");
}

#[tokio::test]
async fn the_request_target_is_forwarded_unchanged() {
    for (uri, target) in [
        ("http://a/", "/"),
        ("http://a", "/"),
        (
            "http://a/%2e%2E//a/../b?c=%20&d#e",
            "/%2e%2E//a/../b?c=%20&d",
        ),
        ("/a?", "/a?"),
        ("/a;b='c'|{}\"", "/a;b='c'|{}\""),
        ("*", "*"),
    ] {
        let (fake, mut received) = Fake::answers_after("").await;
        let request = http::Request::builder()
            .method("OPTIONS")
            .uri(uri)
            .body(empty())
            .unwrap();
        send(&fake.proxy(), request).await.unwrap();
        let head = received.recv().await.unwrap();
        let line = head.lines().next().unwrap();
        assert_eq!(line, format!("OPTIONS {target} HTTP/1.1"));
    }
}

#[tokio::test]
async fn connect_is_not_forwarded() {
    let (fake, _received) = Fake::listens().await;
    let request = http::Request::builder()
        .method("CONNECT")
        .uri("a.example:443")
        .body(empty())
        .unwrap();
    let error = send(&fake.proxy(), request).await.unwrap_err();
    assert!(matches!(error, ProxyError::Method));
    assert_eq!(error.status(), 501);
    assert_eq!(fake.connections(), 0);
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let fake = Fake::start(|stream, _| async move {
        let (mut read, mut write_half) = stream.into_split();
        let head = read_head(&mut read).await.unwrap();
        assert!(head.contains("content-length: 8000000\r\n"), "{head}");
        write(
            &mut write_half,
            "HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n",
        )
        .await;
        tokio::io::copy(&mut read, &mut write_half).await.unwrap();
    })
    .await;
    let sent: Bytes = (0..8_000_000_u32).map(|at| (at % 251) as u8).collect();
    let body = http_body_util::Full::new(sent.clone());
    let response = post(&fake.proxy(), &[], body).await.unwrap();
    let body = within(response.into_body().collect()).await.unwrap();
    assert!(body.to_bytes() == sent);
}

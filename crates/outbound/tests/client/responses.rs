//! Servers that do not behave.

use outbound::Error;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Called as _, Upstream, get, read_head, read_rest, text};

#[tokio::test]
async fn a_malformed_response_is_a_protocol_error() {
    for reply in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 99999 What\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nhello",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n",
    ] {
        let upstream = Upstream::replies_once(reply).await;
        let error = get(&upstream.client(), &upstream.uri()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{reply}: {error:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_without_a_response_is_an_error() {
    for reply in ["", "HTTP/1.1 200 OK\r\ncontent-"] {
        let upstream = Upstream::replies_once(reply).await;
        let error = get(&upstream.client(), &upstream.uri()).await.unwrap_err();
        assert!(matches!(error, Error::Terminated), "{reply}: {error:?}");
    }
}

#[tokio::test]
async fn a_response_head_over_the_limit_is_refused() {
    let field = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "a".repeat(100_000));
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(257));
    for reply in [field, fields] {
        let upstream = Upstream::replies_once(reply).await;
        let error = get(&upstream.client(), &upstream.uri()).await.unwrap_err();
        assert!(matches!(error, Error::ResponseHeaderTooLarge), "{error:?}");
    }
    // One without an end is not read for ever, either.
    let upstream = Upstream::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let mut line = b"HTTP/1.1 200 OK\r\na: ".to_vec();
        while stream.write_all(&line).await.is_ok() {
            line = vec![b'a'; 10_000];
        }
    })
    .await;
    let error = get(&upstream.client(), &upstream.uri()).await.unwrap_err();
    assert!(matches!(error, Error::ResponseHeaderTooLarge), "{error:?}");
}

#[tokio::test]
async fn a_response_head_of_256_fields_is_accepted() {
    let fields = "a: b\r\n".repeat(255);
    let reply = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 5\r\n\r\nhello");
    let upstream = Upstream::replies_once(reply).await;
    let response = get(&upstream.client(), &upstream.uri()).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn interim_responses_are_passed_over() {
    let upstream = Upstream::replies(
        "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await;
    let response = get(&upstream.client(), &upstream.uri()).await.unwrap();
    assert!(!response.headers().contains_key("link"));
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn response_smuggling_bytes_after_a_response_do_not_become_the_next_one() {
    let hello = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let upstream = Upstream::start(move |mut stream, number| async move {
        read_head(&mut stream).await;
        let twice = format!("{hello}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nevil!");
        let reply = if number == 0 { twice.as_str() } else { hello };
        let _ = stream.write_all(reply.as_bytes()).await;
        read_rest(&mut stream).await;
    })
    .await;
    let client = upstream.client();
    for _ in 0..2 {
        let response = get(&client, &upstream.uri()).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hello");
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn response_smuggling_a_response_with_ambiguous_framing_is_rejected() {
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: identity",
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let upstream = Upstream::replies_once(reply).await;
        let error = get(&upstream.client(), &upstream.uri()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{fields}: {error:?}");
    }
}

#[tokio::test]
async fn response_smuggling_the_body_of_a_204_does_not_become_the_next_response() {
    for first in [
        "HTTP/1.1 204 No Content\r\ncontent-length: 43\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |mut stream, number| async move {
            read_head(&mut stream).await;
            let hello = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
            let reply = if number == 0 { first } else { hello };
            let _ = stream.write_all(reply.as_bytes()).await;
            if number == 0 {
                // The announced body comes when the next request is there.
                read_head(&mut stream).await;
                let forged = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nevil!";
                let _ = stream.write_all(forged.as_bytes()).await;
            }
            read_rest(&mut stream).await;
        })
        .await;
        let client = upstream.client();
        get(&client, &upstream.uri()).await.unwrap();
        let response = get(&client, &upstream.uri()).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hello", "{first}");
        assert_eq!(upstream.connections(), 2);
    }
}

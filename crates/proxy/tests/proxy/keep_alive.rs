//! Which connections are used again, and when a request is sent once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use proxy::{Pool, PoolOptions, Proxy, ProxyError, Timeouts, Upstream};
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Fake, HELLO, Proxied as _, empty, full, get, post, read_head, read_rest, read_to, request,
    send, text, until, within, write, written,
};

fn keeping(fake: &Fake, options: PoolOptions) -> (Proxy, Pool) {
    let pool = Pool::new(options);
    let upstream = Upstream::single(fake.server());
    let proxy = Proxy::new(upstream, pool.clone(), Timeouts::default());
    (proxy, pool)
}

#[tokio::test]
async fn keep_alive_reuses_the_connection() {
    let fake = Fake::replies(HELLO).await;
    let (proxy, pool) = keeping(&fake, PoolOptions::default());
    for _ in 0..10 {
        assert_eq!(text(get(&proxy).await.unwrap()).await.unwrap(), "hello");
        assert_eq!(pool.idle(&fake.server()), 1);
    }
    assert_eq!(fake.connections(), 1);
    // Another proxy with the same pool has them, too.
    let upstream = Upstream::single(fake.server());
    let other = Proxy::new(upstream, pool.clone(), Timeouts::default());
    text(get(&other).await.unwrap()).await.unwrap();
    assert_eq!(fake.connections(), 1);
    text(get(&fake.proxy()).await.unwrap()).await.unwrap();
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn keep_alive_survives_all_ways_to_end_a_response() {
    for (method, reply) in [
        ("GET", HELLO),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
        ),
        ("GET", "HTTP/1.1 404 A\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 204 A\r\n\r\n"),
        ("GET", "HTTP/1.1 204 A\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 304 A\r\ncontent-length: 5\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 A\r\ncontent-length: 5\r\n\r\n"),
    ] {
        let fake = Fake::replies(reply).await;
        let proxy = fake.proxy();
        for _ in 0..3 {
            let request = request(method, &[]).body(empty()).unwrap();
            text(send(&proxy, request).await.unwrap()).await.unwrap();
        }
        assert_eq!(fake.connections(), 1, "{reply}");
    }
}

#[tokio::test]
async fn keep_alive_ends_if_the_server_closes() {
    for reply in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nconnection: x\r\nconnection: Close\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let fake = Fake::replies(reply).await;
        let proxy = fake.proxy();
        for round in 1..=3 {
            assert_eq!(text(get(&proxy).await.unwrap()).await.unwrap(), "hello");
            assert_eq!(fake.connections(), round, "{reply}");
        }
    }
}

#[tokio::test]
async fn keep_alive_survives_uploads() {
    let (fake, _received) = Fake::answers_after("hello").await;
    let proxy = fake.proxy();
    for _ in 0..3 {
        let response = post(&proxy, &[], full("hello")).await.unwrap();
        text(response).await.unwrap();
    }
    assert_eq!(fake.connections(), 1);
    let (fake, _received) = Fake::answers_after("0\r\n\r\n").await;
    let proxy = fake.proxy();
    let long: &str = "a".repeat(100_000).leak();
    for _ in 0..3 {
        let response = post(&proxy, &[], written(&[long])).await.unwrap();
        text(response).await.unwrap();
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn keep_alive_ends_with_an_unread_body() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhello",
        )
        .await;
        read_rest(&mut stream).await;
    })
    .await;
    let proxy = fake.proxy();
    for round in 1..=3 {
        let mut response = get(&proxy).await.unwrap();
        within(response.body_mut().frame()).await.unwrap().unwrap();
        drop(response);
        assert_eq!(fake.connections(), round);
    }
}

#[tokio::test]
async fn keep_alive_connections_are_limited_in_number() {
    let fake = Fake::replies(HELLO).await;
    let (proxy, pool) = keeping(
        &fake,
        PoolOptions {
            idle: 2,
            ..PoolOptions::default()
        },
    );
    let mut responses = Vec::new();
    for _ in 0..5 {
        responses.push(get(&proxy).await.unwrap());
    }
    assert_eq!(fake.connections(), 5);
    for response in responses {
        text(response).await.unwrap();
    }
    assert_eq!(pool.idle(&fake.server()), 2);

    let fake = Fake::replies(HELLO).await;
    let (proxy, pool) = keeping(
        &fake,
        PoolOptions {
            idle: 0,
            ..PoolOptions::default()
        },
    );
    for round in 1..=3 {
        text(get(&proxy).await.unwrap()).await.unwrap();
        assert_eq!(fake.connections(), round);
    }
    assert_eq!(pool.idle(&fake.server()), 0);
}

#[tokio::test]
async fn keep_alive_connections_are_closed_after_the_idle_time() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let fake = Fake::start(move |mut stream, _| {
        let counter = Arc::clone(&counter);
        async move {
            while read_head(&mut stream).await.is_some() {
                write(&mut stream, HELLO).await;
            }
            counter.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let (proxy, pool) = keeping(
        &fake,
        PoolOptions {
            idle_time: Duration::from_millis(50),
            ..PoolOptions::default()
        },
    );
    for round in 1..=3 {
        text(get(&proxy).await.unwrap()).await.unwrap();
        // It is closed although there is no request.
        until(|| closed.load(Ordering::SeqCst) == round).await;
        assert_eq!(pool.idle(&fake.server()), 0);
    }
    assert_eq!(fake.connections(), 3);
}

#[tokio::test]
async fn a_keep_alive_connection_closed_by_the_server_is_not_reused() {
    for method in ["GET", "POST"] {
        let fake = Fake::start(|mut stream, _| async move {
            read_head(&mut stream).await;
            write(&mut stream, HELLO).await;
            // It says nothing of closing, and does.
            let _ = stream.shutdown().await;
        })
        .await;
        let proxy = fake.proxy();
        for _ in 0..10 {
            let request = request(method, &[]).body(empty()).unwrap();
            let response = send(&proxy, request).await.unwrap();
            assert_eq!(text(response).await.unwrap(), "hello");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fake.connections(), 10);
    }
}

/// A server that ends its first connection when it has read the second request's head, as one that
/// closes it at the same moment would; all others it keeps. It counts requests.
async fn closes_on_reuse(reset: bool, last: &'static str) -> (Fake, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let fake = Fake::start(move |mut stream, number| {
        let counter = Arc::clone(&counter);
        async move {
            for round in 0.. {
                let Some(head) = read_head(&mut stream).await else {
                    return;
                };
                counter.fetch_add(1, Ordering::SeqCst);
                if number == 0 && round == 1 {
                    write(&mut stream, last).await;
                    if reset {
                        SockRef::from(&stream)
                            .set_linger(Some(Duration::ZERO))
                            .unwrap();
                    }
                    return;
                }
                if head.contains("content-length: 5") {
                    read_to(&mut stream, "hello").await;
                }
                write(&mut stream, HELLO).await;
            }
        }
    })
    .await;
    (fake, requests)
}

#[tokio::test]
async fn an_idempotent_request_lost_on_a_keep_alive_connection_is_retried_once() {
    for reset in [false, true] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let (fake, requests) = closes_on_reuse(reset, "").await;
            let proxy = fake.proxy();
            text(get(&proxy).await.unwrap()).await.unwrap();
            let request = request(method, &[("x-a", "1")]).body(empty()).unwrap();
            send(&proxy, request).await.unwrap();
            assert_eq!(fake.connections(), 2, "{method}");
            assert_eq!(requests.load(Ordering::SeqCst), 3, "{method}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_not_idempotent_is_not_retried() {
    for method in ["POST", "PATCH"] {
        let (fake, requests) = closes_on_reuse(false, "").await;
        let proxy = fake.proxy();
        text(get(&proxy).await.unwrap()).await.unwrap();
        let request = request(method, &[]).body(empty()).unwrap();
        let error = send(&proxy, request).await.unwrap_err();
        assert!(matches!(error, ProxyError::Terminated), "{error}");
        assert_eq!(requests.load(Ordering::SeqCst), 2, "{method}");
        assert_eq!(fake.connections(), 1, "{method}");
    }
}

#[tokio::test]
async fn a_request_whose_body_has_begun_is_not_retried() {
    let (fake, requests) = closes_on_reuse(false, "").await;
    let proxy = fake.proxy();
    text(get(&proxy).await.unwrap()).await.unwrap();
    let request = request("PUT", &[]).body(full("hello")).unwrap();
    let error = send(&proxy, request).await.unwrap_err();
    assert!(matches!(error, ProxyError::Terminated), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_retry_sends_a_body_that_has_not_begun() {
    let (fake, requests) = closes_on_reuse(false, "").await;
    let proxy = fake.proxy();
    text(get(&proxy).await.unwrap()).await.unwrap();
    let (writer, body) = crate::support::pieces();
    let request = request("PUT", &[("content-length", "5")])
        .body(body)
        .unwrap();
    let sending = tokio::spawn(async move { text(send(&proxy, request).await?).await });
    until(|| fake.connections() == 2).await;
    writer.write("hello");
    drop(writer);
    assert_eq!(sending.await.unwrap().unwrap(), "hello");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_request_whose_response_has_begun_is_not_retried() {
    let (fake, requests) = closes_on_reuse(false, "HTTP/1.1 20").await;
    let proxy = fake.proxy();
    text(get(&proxy).await.unwrap()).await.unwrap();
    let error = get(&proxy).await.unwrap_err();
    assert!(matches!(error, ProxyError::Terminated), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn response_smuggling_unrequested_bytes_close_an_idle_connection() {
    let fake = Fake::start(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            write(&mut stream, HELLO).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            let _ = stream
                .write_all(b"HTTP/1.1 408 A\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let proxy = fake.proxy();
    for round in 1..=3 {
        let response = get(&proxy).await.unwrap();
        assert_eq!(response.status(), 200);
        text(response).await.unwrap();
        assert_eq!(fake.connections(), round);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_do_not_mix() {
    let fake = Fake::start(|mut stream, _| async move {
        while let Some(head) = read_head(&mut stream).await {
            let number = head.split("x-number: ").nth(1).unwrap();
            let number = number.split("\r\n").next().unwrap();
            let reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{number}",
                number.len()
            );
            write(&mut stream, &reply).await;
        }
    })
    .await;
    let proxy = fake.proxy();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let proxy = proxy.clone();
            tokio::spawn(async move {
                for round in 0..100 {
                    let number = format!("{task}-{round}");
                    let request = request("GET", &[("x-number", &number)]);
                    let response = send(&proxy, request.body(empty()).unwrap()).await.unwrap();
                    assert_eq!(text(response).await.unwrap(), number);
                }
            })
        })
        .collect();
    for task in tasks {
        within(task).await.unwrap();
    }
    assert!(fake.connections() < 100, "{}", fake.connections());
}

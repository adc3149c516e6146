//! How long a server is waited for.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use proxy::{Pool, Proxy, ProxyError, Server, Timeouts, Upstream};
use tokio::net::UnixListener;

use crate::support::{
    Fake, HELLO, Proxied as _, SHORT, empty, get, pieces, post, read_head, read_rest, read_to,
    request, send, text, until, within, write,
};

#[tokio::test]
async fn a_server_that_does_not_accept_is_a_gateway_timeout() {
    // A Unix socket's queue is one that can be filled.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full");
    let listener = {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        socket.listen(0).unwrap();
        socket
    };
    let _first = tokio::net::UnixStream::connect(&path).await.unwrap();
    let timeouts = Timeouts {
        connect: SHORT,
        ..Timeouts::default()
    };
    let upstream = Upstream::single(Server::unix(&path));
    let proxy = Proxy::new(upstream, Pool::default(), timeouts);
    let before = Instant::now();
    let error = get(&proxy).await.unwrap_err();
    assert!(matches!(error, ProxyError::ConnectTimeout), "{error}");
    assert_eq!(error.status(), 504);
    assert!(before.elapsed() >= SHORT);

    // A place in the queue is waited for.
    let timeouts = Timeouts::default();
    let proxy = Proxy::new(
        Upstream::single(Server::unix(&path)),
        Pool::default(),
        timeouts,
    );
    let sending = tokio::spawn(async move { text(get(&proxy).await?).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let listener: std::os::unix::net::UnixListener = listener.into();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    within(listener.accept()).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    read_head(&mut stream).await.unwrap();
    write(&mut stream, HELLO).await;
    assert_eq!(sending.await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_silent_server_is_a_gateway_timeout() {
    for begun in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 A\r\n\r\n"] {
        let fake = Fake::start(move |mut stream, _| async move {
            read_head(&mut stream).await;
            write(&mut stream, begun).await;
            read_rest(&mut stream).await;
        })
        .await;
        let proxy = fake.proxy_with(Timeouts {
            response: SHORT,
            ..Timeouts::default()
        });
        let error = get(&proxy).await.unwrap_err();
        assert!(matches!(error, ProxyError::ResponseTimeout), "{error}");
        assert_eq!(error.status(), 504);
    }
}

#[tokio::test]
async fn interim_responses_do_not_prolong_the_wait() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        loop {
            let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
            if tokio::io::AsyncWriteExt::write_all(&mut stream, hint)
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let proxy = fake.proxy_with(Timeouts {
        response: SHORT,
        ..Timeouts::default()
    });
    let error = get(&proxy).await.unwrap_err();
    assert!(matches!(error, ProxyError::ResponseTimeout), "{error}");
}

#[tokio::test]
async fn a_slow_client_is_not_a_gateway_timeout() {
    let (fake, _received) = Fake::answers_after("0\r\n\r\n").await;
    let proxy = fake.proxy_with(Timeouts {
        response: SHORT,
        send: SHORT,
        ..Timeouts::default()
    });
    let (writer, body) = pieces();
    let sending = tokio::spawn(async move { text(post(&proxy, &[], body).await?).await });
    tokio::time::sleep(SHORT * 2).await;
    writer.write("late");
    drop(writer);
    assert_eq!(sending.await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_server_that_reads_nothing_is_a_gateway_timeout() {
    let fake = Fake::start(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let proxy = fake.proxy_with(Timeouts {
        send: SHORT,
        ..Timeouts::default()
    });
    let (writer, body) = pieces();
    for _ in 0..4_000 {
        writer.write(PIECE);
    }
    let error = post(&proxy, &[], body).await.unwrap_err();
    assert!(matches!(error, ProxyError::SendTimeout), "{error}");
    assert_eq!(error.status(), 504);
    until(|| writer.is_dropped()).await;
}

#[tokio::test]
async fn a_slow_but_steady_server_is_waited_for() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        for _ in 0..4 {
            tokio::time::sleep(SHORT / 2).await;
            let mut some = vec![0; 4_000_000];
            let _ = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut some).await;
        }
        read_to(&mut stream, "0\r\n\r\n").await;
        write(&mut stream, HELLO).await;
    })
    .await;
    let proxy = fake.proxy_with(Timeouts {
        send: SHORT,
        ..Timeouts::default()
    });
    let (writer, body) = pieces();
    for _ in 0..2_500 {
        writer.write(PIECE);
    }
    drop(writer);
    let response = post(&proxy, &[], body).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_stalled_response_body_ends_in_an_error() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        )
        .await;
        read_rest(&mut stream).await;
    })
    .await;
    let proxy = fake.proxy_with(Timeouts {
        read: SHORT,
        ..Timeouts::default()
    });
    let mut body = get(&proxy).await.unwrap().into_body();
    // While the body is not read, its time-out does not run.
    tokio::time::sleep(SHORT * 2).await;
    within(body.frame()).await.unwrap().unwrap();
    let error = within(body.frame()).await.unwrap().unwrap_err();
    assert!(matches!(error, ProxyError::BodyTimeout), "{error}");
    assert!(within(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_slow_but_steady_response_body_is_read() {
    let fake = Fake::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
        for piece in ["h", "e", "l", "l", "o"] {
            tokio::time::sleep(SHORT / 2).await;
            write(&mut stream, piece).await;
        }
        read_rest(&mut stream).await;
    })
    .await;
    let proxy = fake.proxy_with(Timeouts {
        read: SHORT,
        response: SHORT,
        ..Timeouts::default()
    });
    let request = request("GET", &[]).body(empty()).unwrap();
    let response = send(&proxy, request).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}

const PIECE: &str = match std::str::from_utf8(&[b'a'; 8192]) {
    Ok(piece) => piece,
    Err(_) => "",
};

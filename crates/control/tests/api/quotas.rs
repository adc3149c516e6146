//! Strangers that this process passes on, and bodies: what each may take of others.

use std::io;
use std::time::Duration;

use control::Limits;
use sockets::Listener;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::support::{LONG, Server, read, request, start, start_with};

const SHORT: Duration = Duration::from_millis(60);

/// Has the server listen on a second socket, whose clients are this process and so proxied ones.
async fn proxied(directory: &TempDir, server: &Server) -> impl AsyncFn() -> UnixStream {
    let path = directory.path().join("proxied.sock");
    let listener = Listener::Unix(UnixListener::bind(&path).unwrap());
    let control = server.control.clone();
    tokio::spawn(async move { control.serve(listener, std::future::pending()).await });
    async move || UnixStream::connect(&path).await.unwrap()
}

#[tokio::test]
async fn slow_proxied_clients_do_not_hold_operators_up() {
    let (directory, server) = start();
    let connect = proxied(&directory, &server).await;
    let mut slow = Vec::new();
    for _ in 0..140 {
        let mut client = connect().await;
        let request = request("PUT", "/config", b"{}");
        // One that is refused may be closed already.
        _ = client.write_all(&request[..request.len() - 1]).await;
        slow.push(client);
    }
    for _ in 0..9 {
        let answer = timeout(LONG, server.get("/status/requests/total")).await;
        answer.unwrap().is(200, "7\n");
    }
    server.put("/config", "{}").await.done();
    // Those over the limit are answered with 503; the others continue.
    let mut refused = 0;
    for mut client in slow {
        let mut bytes = [0; 12];
        match timeout(SHORT, client.read_exact(&mut bytes)).await {
            Ok(Ok(_)) => {
                assert_eq!(&bytes, b"HTTP/1.1 503");
                refused += 1;
            }
            // Closed, since there are too many even of those.
            Ok(Err(_)) => refused += 1,
            Err(_) => {}
        }
    }
    assert_eq!(refused, 132);
}

#[tokio::test]
async fn a_proxied_connection_beyond_the_limit_is_answered_503() {
    let (directory, server) = start_with(Limits {
        proxied_connections: 1,
        ..Limits::default()
    });
    let connect = proxied(&directory, &server).await;
    let idle = connect().await;
    let mut client = connect().await;
    client
        .write_all(&request("GET", "/config", b""))
        .await
        .unwrap();
    let answer = read(client).await;
    answer.is(
        503,
        "{\n\t\"error\": \"Too many connections.\",\n\t\"detail\": \"The limit of connections through \
         listeners of the server is 1.\"\n}\n",
    );
    assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
    drop(idle);
    // It may take a moment until the place is free.
    let freed = timeout(LONG, async {
        loop {
            let mut client = connect().await;
            let request = request("GET", "/status/requests/total", b"");
            client.write_all(&request).await.unwrap();
            if read(client).await.status == 200 {
                break;
            }
        }
    });
    freed.await.unwrap();
}

/// Sends all but the last byte of a request.
async fn begin(client: &mut UnixStream, request: &[u8]) {
    client
        .write_all(&request[..request.len() - 1])
        .await
        .unwrap();
}

#[tokio::test]
async fn request_bodies_are_bounded_in_total() {
    let limits = Limits {
        body_size: 1000,
        body_total: 2000,
        body_wait: SHORT,
        ..Limits::default()
    };
    let (directory, server) = start_with(limits);
    let large = request("PUT", "/config", format!("{:1$}", "{}", 1000).as_bytes());
    let mut slow = [server.connect().await, server.connect().await];
    for client in &mut slow {
        begin(client, &large).await;
    }
    // What has no body waits for none, and what can be refused is.
    server.get("/status/requests/total").await.is(200, "7\n");
    let answer = server.put("/config", "{}").await;
    answer.is(
        503,
        "{\n\t\"error\": \"Too many request bodies.\",\n\t\"detail\": \"The limit of all request bodies \
         together is 2000 bytes.\"\n}\n",
    );
    assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
    // Bodies of proxied clients have a total of their own.
    let connect = proxied(&directory, &server).await;
    let mut client = connect().await;
    client.write_all(&large).await.unwrap();
    read(client).await.done();

    let [one, mut other] = slow;
    drop(one);
    other.write_all(b" ").await.unwrap();
    read(other).await.done();
    let freed = timeout(LONG, async {
        while server.put("/config", "{}").await.status != 200 {}
    });
    freed.await.unwrap();
}

#[tokio::test]
async fn a_body_that_waits_for_others_is_read_in_the_end() {
    let limits = Limits {
        body_size: 1000,
        body_total: 1000,
        ..Limits::default()
    };
    let (_directory, server) = start_with(limits);
    let large = request("PUT", "/config", format!("{:1$}", "{}", 1000).as_bytes());
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.write_all(&large).await.unwrap();
        clients.push(client);
    }
    for client in clients {
        read(client).await.done();
    }
}

#[tokio::test]
async fn a_get_is_answered_before_its_body() {
    let (_directory, server) = start();
    for method in ["GET", "HEAD", "DELETE"] {
        let mut client = server.connect().await;
        let head = format!(
            "{method} /config HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nsome"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let status = read(client).await.status;
        assert_eq!(status, if method == "HEAD" { 405 } else { 200 }, "{method}");
    }
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_at_once() {
    let (_directory, server) = start();
    for length in [(16 << 20) + 1, i64::MAX as u64, u64::MAX - 2] {
        let mut client = server.connect().await;
        let head = format!("PUT /config HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let answer = read(client).await;
        assert_eq!(answer.status, 413, "{length}");
        assert!(answer.head.contains("\r\nconnection: close"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_client_that_sends_without_looking_sees_a_413_and_no_reset() {
    let (_directory, server) = start_with(Limits {
        body_size: 4 << 20,
        ..Limits::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let control = server.control.clone();
    tokio::spawn(async move {
        control
            .serve(Listener::Tcp(listener), std::future::pending())
            .await;
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    let sent = async {
        let body = vec![b' '; 12 << 20];
        client.write_all(&request("PUT", "/config", &body)).await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(LONG, sent).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_proxied_change_that_waits_for_operators_for_too_long_is_answered_503() {
    let (directory, server) = start_with(Limits {
        proxied_turn_wait: SHORT,
        ..Limits::default()
    });
    let gate = server.notes.close_gate();
    let mut operator = server.connect().await;
    let change = request("PUT", "/config", b"{}");
    operator.write_all(&change).await.unwrap();
    server.notes.until(&["prepare "]).await;
    let connect = proxied(&directory, &server).await;
    let restart = request("GET", "/control/applications/a/restart", b"");
    for request in [&change, &restart] {
        let mut client = connect().await;
        client.write_all(request).await.unwrap();
        let answer = read(client).await;
        answer.is(
            503,
            "{\n\t\"error\": \"Too many changes.\",\n\t\"detail\": \"Changes that do not come through a \
             listener of the server take precedence.\"\n}\n",
        );
        assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
    }
    gate.add_permits(1);
    read(operator).await.done();
}

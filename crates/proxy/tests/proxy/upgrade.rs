//! WebSockets, from a client through hyper's server and the proxy to a server on a socket.

use std::time::Duration;

use http_body_util::BodyExt as _;
use proxy::{Timeouts, TunnelError};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::front::front;
use crate::support::{
    Fake, HELLO, Proxied as _, SHORT, empty, read_head, read_rest, read_to, request, send, within,
    write,
};

const ASKS: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                        Upgrade: websocket\r\nSec-WebSocket-Accept: b\r\n\r\n";

/// A server that switches, and hands the connection on.
async fn switching(also: &'static str) -> (Fake, mpsc::Receiver<(String, TcpStream)>) {
    let (sender, received) = mpsc::channel(4);
    let fake = Fake::start(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            write(&mut stream, &format!("{SWITCHES}{also}")).await;
            sender.send((head, stream)).await.unwrap();
        }
    })
    .await;
    (fake, received)
}

#[tokio::test]
async fn a_websocket_upgrade_tunnels_both_ways() {
    let (fake, mut switched) = switching("first").await;
    let (address, mut ended) = front(fake.proxy()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    // Some clients do not wait.
    write(&mut client, &format!("{ASKS}early")).await;

    let (head, mut server) = within(switched.recv()).await.unwrap();
    let expected = "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-key: a\r\n\
                    sec-websocket-version: 13\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(head, expected);
    let head = within(read_head(&mut client)).await.unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    for field in [
        "sec-websocket-accept: b",
        "upgrade: websocket",
        "connection: upgrade",
    ] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{head}");
    }
    assert!(!head.contains("content-length"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");

    within(read_to(&mut server, "early")).await;
    within(read_to(&mut client, "first")).await;
    for _ in 0..10 {
        write(&mut client, "ping").await;
        within(read_to(&mut server, "ping")).await;
        write(&mut server, "pong!").await;
        within(read_to(&mut client, "pong!")).await;
    }

    // One side ends, the other continues.
    client.shutdown().await.unwrap();
    assert_eq!(within(read_rest(&mut server)).await, "");
    write(&mut server, "last").await;
    within(read_to(&mut client, "last")).await;
    drop(server);
    assert_eq!(within(read_rest(&mut client)).await, "");
    let counts = within(ended.recv()).await.unwrap().unwrap();
    assert_eq!(counts, (5 + 40, 5 + 50 + 4));
}

#[tokio::test]
async fn a_tunnel_passes_the_end_of_one_side_on() {
    let (fake, mut switched) = switching("").await;
    let (address, mut ended) = front(fake.proxy()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    write(&mut client, ASKS).await;
    let (_, mut server) = within(switched.recv()).await.unwrap();
    within(read_head(&mut client)).await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(within(read_rest(&mut client)).await, "");
    write(&mut client, "still").await;
    within(read_to(&mut server, "still")).await;
    drop(client);
    assert_eq!(within(read_rest(&mut server)).await, "");
    assert_eq!(within(ended.recv()).await.unwrap().unwrap(), (5, 0));
}

#[tokio::test]
async fn back_pressure_limits_what_a_tunnel_buffers() {
    let (fake, mut switched) = switching("").await;
    let (address, _ended) = front(fake.proxy()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    write(&mut client, ASKS).await;
    let (_, mut server) = within(switched.recv()).await.unwrap();
    within(read_head(&mut client)).await.unwrap();
    let piece = vec![0; 65_536];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(SHORT, server.write(&piece)).await {
        sent += written.unwrap();
        // The kernel has buffers on both connections.
        assert!(sent < 64 << 20, "back-pressure stops it");
    }
    let mut received = vec![0; sent];
    within(client.read_exact(&mut received)).await.unwrap();
}

#[tokio::test]
async fn a_tunnel_closes_both_connections_if_one_fails() {
    for fails in ["client", "server"] {
        let (fake, mut switched) = switching("").await;
        let (address, mut ended) = front(fake.proxy()).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        write(&mut client, ASKS).await;
        let (_, server) = within(switched.recv()).await.unwrap();
        within(read_head(&mut client)).await.unwrap();
        let (failing, mut other) = if fails == "client" {
            (client, server)
        } else {
            (server, client)
        };
        SockRef::from(&failing)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(failing);
        assert_eq!(within(read_rest(&mut other)).await, "");
        let error = within(ended.recv()).await.unwrap().unwrap_err();
        assert!(matches!(error, TunnelError::Failed(_)), "{error}");
    }
}

#[tokio::test]
async fn an_idle_tunnel_is_closed() {
    let (fake, mut switched) = switching("").await;
    let proxy = fake.proxy_with(Timeouts {
        tunnel: SHORT,
        ..Timeouts::default()
    });
    let (address, mut ended) = front(proxy).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    write(&mut client, ASKS).await;
    let (_, mut server) = within(switched.recv()).await.unwrap();
    within(read_head(&mut client)).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(SHORT / 2).await;
        write(&mut client, "ping").await;
        within(read_to(&mut server, "ping")).await;
    }
    let error = within(ended.recv()).await.unwrap().unwrap_err();
    assert!(matches!(error, TunnelError::Idle(_)), "{error}");
    assert_eq!(within(read_rest(&mut server)).await, "");
    assert_eq!(within(read_rest(&mut client)).await, "");
}

#[tokio::test]
async fn an_idle_half_closed_tunnel_is_closed_sooner() {
    for ends in ["client", "server"] {
        let (fake, mut switched) = switching("").await;
        let proxy = fake.proxy_with(Timeouts {
            half_closed_tunnel: SHORT,
            ..Timeouts::default()
        });
        let (address, mut ended) = front(proxy).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        write(&mut client, ASKS).await;
        let (_, mut server) = within(switched.recv()).await.unwrap();
        within(read_head(&mut client)).await.unwrap();
        tokio::time::sleep(SHORT * 2).await;
        // A client that has closed its connection cannot be distinguished from this one.
        let other = if ends == "client" {
            client.shutdown().await.unwrap();
            &mut server
        } else {
            server.shutdown().await.unwrap();
            &mut client
        };
        assert_eq!(within(read_rest(other)).await, "");
        let error = within(ended.recv()).await.unwrap().unwrap_err();
        assert!(matches!(error, TunnelError::Idle(SHORT)), "{error}");
    }
}

#[tokio::test]
async fn a_server_may_refuse_an_upgrade() {
    let fake = Fake::replies(HELLO).await;
    let proxy = fake.proxy();
    let (address, _ended) = front(proxy.clone()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        write(&mut client, ASKS).await;
        let head = within(read_head(&mut client)).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        within(read_to(&mut client, "hello")).await;
    }
    // Both connections are what they were.
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn only_websocket_upgrades_are_forwarded() {
    let asks = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "a"),
    ];
    for (method, version, fields) in [
        ("POST", http::Version::HTTP_11, &asks[..]),
        ("GET", http::Version::HTTP_10, &asks),
        ("GET", http::Version::HTTP_2, &asks),
        ("GET", http::Version::HTTP_11, &asks[1..]),
        (
            "GET",
            http::Version::HTTP_11,
            &[("connection", "upgrade"), ("upgrade", "h2c")],
        ),
        (
            "GET",
            http::Version::HTTP_11,
            &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
        ),
        (
            "GET",
            http::Version::HTTP_11,
            &[
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("upgrade", "h2c"),
            ],
        ),
    ] {
        let (fake, mut received) = Fake::answers_after("").await;
        let mut request = request(method, fields).body(empty()).unwrap();
        *request.version_mut() = version;
        send(&fake.proxy(), request).await.unwrap();
        let head = received.recv().await.unwrap();
        assert!(!head.contains("upgrade"), "{head}");
    }
}

#[tokio::test]
async fn an_upgrade_to_another_protocol_is_a_bad_gateway() {
    for reply in [
        "HTTP/1.1 101 A\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 A\r\n\r\n",
        "HTTP/1.1 101 A\r\nupgrade: websocket\r\nupgrade: h2c\r\n\r\n",
    ] {
        let fake = Fake::replies_once(reply).await;
        let (address, _ended) = front(fake.proxy()).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        write(&mut client, ASKS).await;
        let head = within(read_head(&mut client)).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    }
}

#[tokio::test]
async fn a_tunnel_that_is_not_taken_closes_the_connection_to_the_server() {
    let (fake, mut switched) = switching("").await;
    let asks = [("connection", "upgrade"), ("upgrade", "websocket")];
    let request = request("GET", &asks).body(empty()).unwrap();
    let mut response = send(&fake.proxy(), request).await.unwrap();
    let (_, mut server) = within(switched.recv()).await.unwrap();
    assert!(response.body_mut().frame().await.is_none());
    let tunnel = response.body_mut().take_tunnel().unwrap();
    // There is no client's connection that could be switched.
    let error = within(tunnel.run()).await.unwrap_err();
    assert!(matches!(error, TunnelError::NotSwitched(_)), "{error}");
    drop(response);
    assert_eq!(within(read_rest(&mut server)).await, "");
}

#[tokio::test]
async fn a_tunnel_carries_large_messages() {
    let (fake, mut switched) = switching("").await;
    let (address, _ended) = front(fake.proxy()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    write(&mut client, ASKS).await;
    let (_, mut server) = within(switched.recv()).await.unwrap();
    within(read_head(&mut client)).await.unwrap();
    let sent: Vec<u8> = (0..4_000_000_u32).map(|at| (at % 253) as u8).collect();
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        client.write_all(&copy).await.unwrap();
        client
    });
    let mut received = vec![0; sent.len()];
    within(server.read_exact(&mut received)).await.unwrap();
    assert!(received == sent);
    writing.await.unwrap();
}

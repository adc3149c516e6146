//! The whole way: from a client's bytes through hyper's server and the proxy to a server's, as the
//! daemon has it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::{Proxy, ProxyError, ResponseBody, TunnelError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{Fake, HELLO, Proxied as _, read_head, read_rest, read_to, within, write};

/// hyper's server in front of a proxy, as the daemon has it, and what became of tunnels.
pub(crate) async fn front(
    proxy: Proxy,
) -> (SocketAddr, mpsc::Receiver<Result<(u64, u64), TunnelError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, ended) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (proxy, sender) = (proxy.clone(), sender.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (proxy, sender) = (proxy.clone(), sender.clone());
                async move { Ok::<_, ProxyError>(answer(&proxy, request, sender).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(async move {
                let _ = connection.await;
            });
        }
    });
    (address, ended)
}

async fn answer(
    proxy: &Proxy,
    request: Request<Incoming>,
    ended: mpsc::Sender<Result<(u64, u64), TunnelError>>,
) -> Response<Either<ResponseBody, Full<Bytes>>> {
    match proxy.send(request).await {
        Ok(mut response) => {
            if let Some(tunnel) = response.body_mut().take_tunnel() {
                assert!(response.body_mut().take_tunnel().is_none());
                tokio::spawn(async move {
                    let _ = ended.send(tunnel.run().await).await;
                });
            }
            response.map(Either::Left)
        }
        Err(error) => Response::builder()
            .status(error.status())
            .body(Either::Right(Full::default()))
            .unwrap(),
    }
}

async fn client(fake: &Fake) -> TcpStream {
    let (address, _) = front(fake.proxy()).await;
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn requests_and_responses_pass_between_two_sockets() {
    let (fake, mut received) = Fake::answers_after("hello").await;
    let mut client = client(&fake).await;
    for _ in 0..3 {
        write(
            &mut client,
            "POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             5;x=y\r\nhello\r\n0\r\n\r\n",
        )
        .await;
        let head = within(read_head(&mut client)).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-length: 5\r\n"), "{head}");
        within(read_to(&mut client, "hello")).await;
        let expected = "POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(received.recv().await.unwrap(), expected);
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn an_http_1_0_client_gets_a_body_that_ends_with_the_connection() {
    let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let fake = Fake::replies(reply).await;
    let mut client = client(&fake).await;
    write(&mut client, "GET / HTTP/1.0\r\n\r\n").await;
    let head = within(read_head(&mut client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert_eq!(within(read_rest(&mut client)).await, "hello");
}

#[tokio::test]
async fn a_truncated_response_is_truncated_for_the_client() {
    for reply in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
    ] {
        let reply = reply.to_owned();
        let fake = Fake::start(move |mut stream, _| {
            let reply = reply.clone();
            async move {
                read_head(&mut stream).await;
                write(&mut stream, &reply).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let mut client = client(&fake).await;
        write(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let all = within(read_rest(&mut client)).await;
        assert!(all.contains("hello"), "{all}");
        assert!(!all.contains("\r\n0\r\n"), "{all}");
    }
}

#[tokio::test]
async fn a_truncated_upload_is_truncated_for_the_server() {
    for rest in ["", "xyz\r\n", "5\r\nhelloo\r\n"] {
        let (fake, mut received) = Fake::listens().await;
        let mut client = client(&fake).await;
        write(
            &mut client,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        write(&mut client, rest).await;
        client.shutdown().await.unwrap();
        let message = within(received.recv()).await.unwrap();
        assert!(message.contains("5\r\nfirst"), "{message}");
        assert!(!message.ends_with("0\r\n\r\n"), "{message}");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_cancels_its_request() {
    let (fake, mut received) = Fake::listens().await;
    let mut client = client(&fake).await;
    write(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(client);
    within(received.recv()).await.unwrap();
}

#[tokio::test]
async fn expect_100_continue_reaches_the_client_when_the_server_sends_it() {
    let (sender, mut after_refusal) = mpsc::channel(1);
    let fake = Fake::start(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            if head.contains("/refused") {
                write(&mut stream, "HTTP/1.1 403 A\r\ncontent-length: 2\r\n\r\nno").await;
                sender.send(read_rest(&mut stream).await).await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            write(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
            read_to(&mut stream, "hello").await;
            write(&mut stream, HELLO).await;
            read_rest(&mut stream).await;
        }
    })
    .await;
    let asks = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut accepted = client(&fake).await;
    write(&mut accepted, &asks("/")).await;
    let mut early = [0; 1];
    let waited = tokio::time::timeout(Duration::from_millis(50), accepted.read(&mut early)).await;
    assert!(
        waited.is_err(),
        "it got 100 Continue before the server sent one"
    );
    let head = within(read_head(&mut accepted)).await.unwrap();
    assert_eq!(head, "HTTP/1.1 100 Continue\r\n\r\n");
    write(&mut accepted, "hello").await;
    let head = within(read_head(&mut accepted)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");

    let mut refused = client(&fake).await;
    write(&mut refused, &asks("/refused")).await;
    let head = within(read_head(&mut refused)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(within(read_rest(&mut refused)).await, "no");
    assert_eq!(within(after_refusal.recv()).await.unwrap(), "");
}

#[tokio::test]
async fn an_upload_is_read_while_its_response_is_not() {
    const LENGTH: usize = 32 << 20;
    let fake = Fake::start(|stream, _| async move {
        let (mut read, mut write_half) = stream.into_split();
        read_head(&mut read).await;
        let writing = tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            write(&mut write_half, &head).await;
            write_half.write_all(&vec![b'a'; LENGTH]).await.unwrap();
            write_half
        });
        let mut body = vec![0; LENGTH];
        read.read_exact(&mut body).await.unwrap();
        writing.await.unwrap();
    })
    .await;
    let mut client = client(&fake).await;
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
    write(&mut client, &head).await;
    // All of it is sent before anything is read.
    within(client.write_all(&vec![b'b'; LENGTH])).await.unwrap();
    within(read_head(&mut client)).await.unwrap();
    let mut body = vec![0; LENGTH];
    within(client.read_exact(&mut body)).await.unwrap();
    assert!(body.iter().all(|byte| *byte == b'a'));
}

#[tokio::test]
async fn a_response_without_a_body_has_no_framing() {
    for (method, reply, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "5"),
        // hyper's server does not say it then, which is as good.
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            "",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "",
        ),
    ] {
        let fake = Fake::replies(reply).await;
        let mut client = client(&fake).await;
        for _ in 0..2 {
            write(
                &mut client,
                &format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"),
            )
            .await;
            let head = within(read_head(&mut client)).await.unwrap();
            let received = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            assert_eq!(received.unwrap_or_default(), length, "{method} {head}");
        }
        assert_eq!(fake.connections(), 1);
    }
}

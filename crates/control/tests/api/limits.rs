//! Clients that take too much, too long, or go wrong.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use control::{BlockingThreads, Control, Limits, Listen, Origin, StateDir};
use sockets::{Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::{LONG, Notes, read, request, start, start_with};

const SHORT: Duration = Duration::from_millis(60);

const TOO_LARGE: &str = "{\n\t\"error\": \"Request body is too large.\",\n\
                         \t\"detail\": \"The limit is 1000 bytes.\"\n}\n";

fn small() -> Limits {
    Limits {
        body_size: 1000,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_body_at_the_limit_is_read_and_one_beyond_is_refused() {
    let (_directory, server) = start_with(small());
    server
        .put("/config", &format!("{:1$}", "{}", 1000))
        .await
        .done();
    server
        .put("/config", &format!("{:1$}", "{}", 1001))
        .await
        .is(413, TOO_LARGE);
    // One that is sent in full without a look at the answer.
    server
        .put("/config", &" ".repeat(4000))
        .await
        .is(413, TOO_LARGE);
    server.get("/config").await.is(200, "{}\n");
}

#[tokio::test]
async fn a_chunked_body_is_read_within_the_limit() {
    let (_directory, server) = start_with(small());
    let head = "PUT /config HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = server.connect().await;
    client
        .write_all(format!("{head}1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n").as_bytes())
        .await
        .unwrap();
    read(client).await.done();
    let mut client = server.connect().await;
    client
        .write_all(format!("{head}3e9\r\n{:1001}\r\n0\r\n\r\n", "").as_bytes())
        .await
        .unwrap();
    read(client).await.is(413, TOO_LARGE);
}

#[tokio::test]
async fn a_client_that_expects_continue_is_answered_before_it_sends() {
    let (_directory, server) = start_with(small());
    let ask = |length: usize| {
        format!(
            "PUT /config HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = server.connect().await;
    client.write_all(ask(2000).as_bytes()).await.unwrap();
    read(client).await.is(413, TOO_LARGE);

    let mut client = server.connect().await;
    client.write_all(ask(2).as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    timeout(LONG, client.read_exact(&mut interim))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"{}").await.unwrap();
    read(client).await.done();
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let (_directory, server) = start_with(Limits {
        body_read: SHORT,
        ..Limits::default()
    });
    let mut client = server.connect().await;
    let request = request("PUT", "/config", b"{}");
    client
        .write_all(&request[..request.len() - 1])
        .await
        .unwrap();
    read(client)
        .await
        .is(408, "{\n\t\"error\": \"Request body timed out.\"\n}\n");
}

#[tokio::test]
async fn a_slow_header_is_given_up() {
    let (_directory, server) = start_with(Limits {
        header_read: SHORT,
        ..Limits::default()
    });
    let mut client = server.connect().await;
    client
        .write_all(b"GET /config HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    let answer = read(client).await;
    assert!(answer.status == 0 || answer.status == 408, "{answer:?}");
}

#[tokio::test]
async fn a_long_header_is_refused() {
    let (_directory, server) = start();
    let mut client = server.connect().await;
    let header = format!(
        "GET /config HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let _ = client.write_all(header.as_bytes()).await;
    assert_eq!(read(client).await.status, 431);
}

#[tokio::test]
async fn bytes_that_are_not_http_end_their_connection_only() {
    let (_directory, server) = start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.write_all(bytes).await.unwrap();
        let answer = read(client).await;
        assert!(matches!(answer.status, 0 | 400), "{answer:?}");
    }
    assert_eq!(server.get("/config").await.status, 200);
}

#[tokio::test]
async fn a_client_that_shuts_its_sending_side_gets_its_answer() {
    let (_directory, server) = start();
    let gate = server.notes.close_gate();
    let mut client = server.connect().await;
    client
        .write_all(&request("PUT", "/config", b"{}"))
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    server.notes.until(&["prepare "]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    gate.add_permits(1);
    read(client).await.done();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let limits = Limits {
        connections: 2,
        header_read: SHORT,
        ..Limits::default()
    };
    let (_directory, server) = start_with(limits);
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(server.connect().await);
    }
    // The idle ones time out, two by two, and then it is this one's turn.
    assert_eq!(server.get("/config").await.status, 200);
    for stream in idle {
        assert_eq!(read(stream).await.status, 0);
    }
}

/// Fails some accepts before each that succeeds, as with no file descriptors.
struct Failing {
    listener: Listener,
    failures: AtomicUsize,
}

impl Listen for Failing {
    async fn accept(&self) -> io::Result<Stream> {
        if self.failures.fetch_add(1, Ordering::Relaxed) % 4 != 3 {
            return Err(io::Error::from_raw_os_error(24));
        }
        self.listener.accept().await
    }

    fn origin(&self, _: &Stream) -> Origin {
        Origin::Operator
    }
}

#[tokio::test]
async fn failed_accepts_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(directory.path()).unwrap();
    let control = Control::new(Notes::default(), state, BlockingThreads::start().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let listener = Failing {
            listener: Listener::Tcp(listener),
            failures: AtomicUsize::new(0),
        };
        control
            .serve(listener, async {
                let _ = stopped.await;
            })
            .await;
    });
    for _ in 0..2 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(&request("GET", "/config", b""))
            .await
            .unwrap();
        let mut text = String::new();
        timeout(LONG, client.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
    drop(stop);
    timeout(LONG, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_read_is_aborted() {
    let limits = Limits {
        connections: 1,
        write_stall: SHORT,
        ..Limits::default()
    };
    let (_directory, server) = start_with(limits);
    // More than a socket buffer holds.
    let names: String = (0..30_000)
        .map(|number| format!(r#""VARIABLE_{number}":"{number:060}","#))
        .collect();
    let body = format!(
        r#"{{"applications":{{"a":{{"type":"wasm","module":"/c","environment":{{{names}}}}}}}}}"#
    );
    server.put("/config", &body).await.done();
    let mut silent: UnixStream = server.connect().await;
    silent
        .write_all(&request("GET", "/config", b""))
        .await
        .unwrap();
    // There is one place, so this is answered once the silent one has lost it.
    assert_eq!(server.get("/status/requests/total").await.status, 200);
}

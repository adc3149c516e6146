//! The end of the control API: what is finished, what is refused, and what is dropped.

use std::time::Duration;

use control::Limits;
use sockets::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::{LONG, Server, read, request, start, start_with};

const STOPPING: &str = "{\n\t\"error\": \"Server is stopping.\"\n}\n";

/// Longer than any test may take.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A client that has sent a change but for its last byte.
async fn unfinished(server: &Server) -> UnixStream {
    let mut client = server.connect().await;
    let request = request("PUT", "/config", b"{}");
    (client.write_all(&request[..request.len() - 1]).await).unwrap();
    client
}

#[tokio::test]
async fn a_change_whose_body_is_still_to_come_at_the_stop_is_refused_at_once() {
    let (_directory, server) = start();
    let client = unfinished(&server).await;
    // A request that is answered shows that those before it were accepted.
    assert_eq!(server.get("/config").await.status, 200);
    timeout(LONG, server.control.finish_changes())
        .await
        .unwrap();
    let answer = read(client).await;
    answer.is(503, STOPPING);
    assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
    assert_eq!(server.notes.calls(), [""; 0]);
}

#[tokio::test]
async fn changes_that_have_begun_are_finished_and_later_ones_are_refused() {
    let (_directory, server) = start();
    let gate = server.notes.close_gate();
    let mut begun = server.connect().await;
    begun
        .write_all(&request("PUT", "/config", b"{}"))
        .await
        .unwrap();
    server.notes.until(&["prepare "]).await;
    let control = server.control.clone();
    let finishing = tokio::spawn(async move { control.finish_changes().await });
    tokio::task::yield_now().await;
    server.put("/config", "{}").await.is(503, STOPPING);
    let restart = server.get("/control/applications/a/restart").await;
    restart.is(503, STOPPING);
    // Readers are served to the end.
    server.get("/status/requests/total").await.is(200, "7\n");
    assert!(!finishing.is_finished());
    gate.add_permits(1);
    read(begun).await.done();
    timeout(LONG, finishing).await.unwrap().unwrap();
    assert_eq!(server.notes.calls(), ["prepare ", "commit "]);
}

#[tokio::test]
async fn a_connection_that_only_lingers_does_not_delay_the_stop() {
    let (_directory, mut server) = start_with(Limits {
        linger: FOR_EVER,
        ..Limits::default()
    });
    let mut client = server.connect().await;
    let head = format!(
        "PUT /config HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        1 << 30
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    server.begin_stop();
    server.stopped().await;
}

#[tokio::test]
async fn an_answer_that_comes_during_the_stop_is_followed_by_a_short_linger() {
    let (_directory, mut server) = start_with(Limits {
        linger: FOR_EVER,
        body_read: FOR_EVER,
        ..Limits::default()
    });
    let mut client = unfinished(&server).await;
    assert_eq!(server.get("/config").await.status, 200);
    server.begin_stop();
    server.control.finish_changes().await;
    let mut status = [0; 12];
    client.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    // The client does not close its end.
    server.stopped().await;
}

#[tokio::test]
async fn half_a_head_does_not_delay_the_stop() {
    let (_directory, mut server) = start_with(Limits {
        header_read: FOR_EVER,
        ..Limits::default()
    });
    let mut client = server.connect().await;
    client
        .write_all(b"PUT /config HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    assert_eq!(server.get("/config").await.status, 200);
    server.begin_stop();
    server.stopped().await;
    drop(client);
}

#[tokio::test]
async fn proxied_connections_are_dropped_at_the_stop() {
    let (directory, server) = start_with(Limits {
        body_read: FOR_EVER,
        ..Limits::default()
    });
    let path = directory.path().join("proxied.sock");
    let listener = Listener::Unix(UnixListener::bind(&path).unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let control = server.control.clone();
    let serving = tokio::spawn(async move {
        control.serve(listener, async { _ = stopped.await }).await;
    });
    let mut client = UnixStream::connect(&path).await.unwrap();
    let request = request("PUT", "/config", b"{}");
    (client.write_all(&request[..request.len() - 1]).await).unwrap();
    let mut other = UnixStream::connect(&path).await.unwrap();
    other
        .write_all(b"GET /status/requests/total HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read(other).await.status, 200);
    drop(stop);
    timeout(LONG, serving).await.unwrap().unwrap();
    assert_eq!(read(client).await.status, 0);
}

//! Servers on Unix sockets.

use proxy::{ProxyError, Server};
use tokio::net::UnixListener;

use crate::support::{HELLO, full, get, post, proxy, read_head, read_to, text, within, write};

async fn serve(listener: UnixListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            while let Some(head) = read_head(&mut stream).await {
                if head.contains("content-length: 5") {
                    read_to(&mut stream, "hello").await;
                }
                write(&mut stream, HELLO).await;
            }
        });
    }
}

#[tokio::test]
async fn a_server_at_a_unix_socket_path_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    tokio::spawn(serve(UnixListener::bind(&path).unwrap()));
    let proxy = proxy(Server::unix(&path));
    for _ in 0..3 {
        assert_eq!(text(get(&proxy).await.unwrap()).await.unwrap(), "hello");
        let response = post(&proxy, &[], full("hello")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_server_at_an_abstract_unix_socket_is_reached() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("wasmtime-unitd-proxy-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    tokio::spawn(serve(UnixListener::from_std(listener).unwrap()));
    let proxy = proxy(Server::abstract_name(&name));
    assert_eq!(text(get(&proxy).await.unwrap()).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_unix_socket_without_a_listener_is_a_bad_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let left = folder.path().join("left");
    drop(UnixListener::bind(&left).unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [
        absent,
        left,
        file,
        "a".repeat(200).into(),
        "".into(),
        "a\0b".into(),
    ] {
        let error = within(get(&proxy(Server::unix(&path)))).await.unwrap_err();
        assert!(matches!(error, ProxyError::Connect(_)), "{path:?}: {error}");
        assert_eq!(error.status(), 502);
    }
}

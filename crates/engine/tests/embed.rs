//! Runs `examples/embed.rs`: the engine as a library, behind hyper.

#![expect(clippy::unwrap_used, reason = "a test may, its helpers included")]

#[path = "../examples/embed.rs"]
#[expect(dead_code, reason = "the example's own `main` is not called")]
mod embed;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// Sends a request to a guest behind the example's server; returns the response.
fn exchange(guest: &str, request: &str) -> String {
    let application = embed::load(&test_components::guest(guest)).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = listener.await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            response
        };
        tokio::select! {
            ended = embed::serve(listener, &application) => panic!("{:?}", ended.err()),
            response = client => response,
        }
    })
}

#[test]
fn the_example_serves_a_component_with_a_relative_uri_and_a_host_field() {
    let response = exchange(
        "hello",
        "GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n",
    );
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.ends_with("Hello, world!\n"), "{response}");
}

#[test]
fn the_service_answers_a_failure_with_an_error_page() {
    let response = exchange(
        "trap",
        "GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n",
    );
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert!(response.contains("Error 500"), "{response}");
}

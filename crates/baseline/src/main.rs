//! The least that a server in Rust costs: hyper, one thread, one answer. `cargo xtask bench` measures
//! against it, and lets guests call it.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What the guest `hello` answers.
const ANSWER: &[u8] = b"Hello, world!\n";

fn main() -> Result<()> {
    let address: SocketAddr = std::env::args()
        .nth(1)
        .context("usage: baseline ADDRESS:PORT")?
        .parse()
        .context("the address is none")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let service = service_fn(async |_| {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER))))
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that leaves is none of our business.
                let _ = connection.await;
            });
        }
    })
}

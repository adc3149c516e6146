//! The least that a server in Rust costs, with and without WebAssembly. `cargo xtask bench` measures
//! against it, and lets guests call it.
//!
//! ```text
//! baseline ADDRESS:PORT             hyper, one thread, one answer
//! baseline ADDRESS:PORT COMPONENT   the same, with a new instance of the component for each request
//! ```
//!
//! There are no limits, logs or counters, nothing is configured, and what goes wrong ends the
//! connection: not a server to be used.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, anyhow};
use baseline::Sandbox;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the guest `hello` answers.
const ANSWER: &[u8] = b"Hello, world!\n";

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let address = arguments
        .next()
        .and_then(|text| text.into_string().ok())
        .context("usage: baseline ADDRESS:PORT [COMPONENT]")?;
    let address: SocketAddr = address.parse().context("invalid address")?;
    let sandbox = arguments
        .next()
        .map(|path| Sandbox::load(path.as_ref()))
        .transpose()
        .map_err(|error| anyhow!("{error:#}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match sandbox {
            Some(sandbox) => {
                let sandbox: &'static Sandbox = Box::leak(Box::new(sandbox));
                serve(address, |request| answer(sandbox, request)).await
            }
            None => serve(address, hello).await,
        }
    })
}

async fn hello(_: Request<Incoming>) -> wasmtime::Result<Response<Full<Bytes>>> {
    Ok(Response::new(Full::new(Bytes::from_static(ANSWER))))
}

async fn answer(
    sandbox: &Sandbox,
    request: Request<Incoming>,
) -> wasmtime::Result<Response<HyperOutgoingBody>> {
    let instance = sandbox.instantiate().await?;
    let (response, rest) = instance.call(request).await?;
    let mut rest = Box::pin(rest);
    if rest.as_mut().now_or_never().is_none() {
        // The guest continues with its body.
        tokio::spawn(rest);
    }
    Ok(response)
}

async fn serve<A, F, B>(address: SocketAddr, answer: A) -> Result<()>
where
    A: Fn(Request<Incoming>) -> F + Copy + Send + 'static,
    F: Future<Output = wasmtime::Result<Response<B>>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = TcpListener::bind(address).await?;
    // An orderly end, at which profiles are written.
    let mut end = signal(SignalKind::terminate())?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = end.recv() => return Ok(()),
        };
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async {
                    answer
                        .await
                        .map_err(|error| io::Error::other(format!("{error:#}")))
                }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that disconnects early is not an error here.
            let _ = connection.await;
        });
    }
}

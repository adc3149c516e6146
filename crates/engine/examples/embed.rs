//! The engine behind hyper: serves one component over HTTP/1.
//!
//! ```text
//! cargo run --example embed -- 127.0.0.1:8080 COMPONENT.wasm
//! ```

use std::error::Error;
use std::path::Path;

use engine::{Application, Component, Engine, Options, Settings};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed ADDRESS:PORT COMPONENT.wasm".into());
    };
    let application = load(Path::new(&path))?;
    serve(TcpListener::bind(address).await?, &application).await
}

/// Compiles a component, which blocks, and makes an application of it with default limits.
pub(crate) fn load(path: &Path) -> Result<Application, Box<dyn Error>> {
    let engine = Engine::new(&Options::default())?;
    let component = Component::load(&engine, path)?;
    Ok(Application::new(engine, component, Settings::new("embed")))
}

/// Serves the application on every connection of the listener.
pub(crate) async fn serve(
    listener: TcpListener,
    application: &Application,
) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let service = application.service();
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}

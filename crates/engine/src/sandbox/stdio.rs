//! A guest's standard output and error, as `wasmtime-wasi` writes to them. `unit_log` writes the lines.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use unit_log::{ApplicationOutput, CurrentRequest, GuestLines, StandardStream};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes that a guest may pass in one call.
const WRITE_PERMIT: usize = 64 * 1024;

/// One standard stream of one guest.
pub(crate) struct GuestStdio {
    output: Arc<ApplicationOutput>,
    current: CurrentRequest,
    stream: StandardStream,
    /// Created when the guest asks for the stream, which most never do.
    lines: OnceLock<StdioWriter>,
}

impl GuestStdio {
    pub(crate) fn new(
        output: Arc<ApplicationOutput>,
        current: CurrentRequest,
        stream: StandardStream,
    ) -> Self {
        Self {
            output,
            current,
            stream,
            lines: OnceLock::new(),
        }
    }

    fn writer(&self) -> StdioWriter {
        let new = || {
            let lines =
                GuestLines::new(Arc::clone(&self.output), self.current.clone(), self.stream);
            StdioWriter(Arc::new(Mutex::new(lines)))
        };
        self.lines.get_or_init(new).clone()
    }
}

impl IsTerminal for GuestStdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStdio {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.writer())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.writer())
    }
}

/// A guest's handle of its stream. Clones write to the same line.
#[derive(Clone)]
struct StdioWriter(Arc<Mutex<GuestLines>>);

impl StdioWriter {
    fn push(&self, bytes: &[u8]) {
        self.0.lock().push(Instant::now(), bytes);
    }
}

impl OutputStream for StdioWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

impl Pollable for StdioWriter {
    // The signature that `#[async_trait]` generates for `async fn ready`.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for StdioWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

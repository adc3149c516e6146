//! A guest's standard output and error, as `wasmtime-wasi` writes to them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use unit_log::{GuestLines, Printing, Speaker, Stream};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes a guest may write in one go.
const WRITE_PERMIT: usize = 64 * 1024;

/// One standard stream of one guest. What it has printed last ends with it, line feed or not.
pub(crate) struct GuestLog {
    printing: Arc<Printing>,
    speaker: Speaker,
    stream: Stream,
    /// Made when the guest asks for the stream, which most never do.
    lines: OnceLock<Writer>,
}

impl GuestLog {
    pub(crate) fn new(printing: Arc<Printing>, speaker: Speaker, stream: Stream) -> Self {
        Self {
            printing,
            speaker,
            stream,
            lines: OnceLock::new(),
        }
    }

    fn writer(&self) -> Writer {
        let new = || {
            let lines = GuestLines::new(
                Arc::clone(&self.printing),
                self.speaker.clone(),
                self.stream,
            );
            Writer(Arc::new(Mutex::new(lines)))
        };
        self.lines.get_or_init(new).clone()
    }
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.writer())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.writer())
    }
}

/// What a guest holds of its stream. Clones write to the same line.
#[derive(Clone)]
struct Writer(Arc<Mutex<GuestLines>>);

impl Writer {
    fn push(&self, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Instant::now(), bytes);
    }
}

impl OutputStream for Writer {
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

impl Pollable for Writer {
    // What `#[async_trait]` makes of `async fn ready(&mut self) {}`.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for Writer {
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

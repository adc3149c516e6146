//! What guests write to their standard output and error: where it goes, and how much of it.
//!
//! ```text
//!   guest ─▶ Lines ──a line, or 8 KiB of one──▶ Rate ──▶ the server's log, escaped
//!            (one a stream of a guest)           │   └──▶ OutputFile, as it is ──▶ Queue ──▶ write(2)
//!                                                ▼                  ▼
//!                                             Losses             Losses
//! ```
//!
//! A guest is never slowed down by this and never sees an error.

mod file;
mod lines;
mod losses;
mod queue;
mod rate;

pub use file::{OutputError, OutputFile, OutputFiles};

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::RequestId;
use crate::application::Settings;
use lines::Lines;
use losses::Losses;
use rate::Rate;

/// Bytes a guest may write in one go.
const WRITE_PERMIT: usize = 64 * 1024;

/// Where one standard stream of an application's guests goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Each line becomes one of the server's log, with application and request; what could forge or
    /// colour lines is escaped.
    #[default]
    Log,
    /// The bytes are appended to a file as they are.
    File(OutputFile),
}

/// What the guests of one application share when they print.
pub(crate) struct Printing {
    application: Arc<str>,
    stdout: Output,
    stderr: Output,
    rate: Mutex<Rate>,
    losses: Losses,
}

impl Printing {
    pub(crate) fn new(settings: &Settings) -> Arc<Self> {
        let application = Arc::clone(&settings.name);
        let losses = Losses::new(move |lines| {
            tracing::warn!(
                application = &*application,
                "{lines} lines of output were lost: guests print more than {} KiB per second",
                rate::BYTES_PER_SECOND / 1024
            );
        });
        Arc::new(Self {
            application: Arc::clone(&settings.name),
            stdout: settings.stdout.clone(),
            stderr: settings.stderr.clone(),
            rate: Mutex::default(),
            losses,
        })
    }

    fn output(&self, stream: Stream) -> &Output {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// Whether a line of this length may go on. If not, it is to be counted as lost.
    fn admits(&self, now: Instant, bytes: usize) -> bool {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.admits(now, bytes)
    }
}

/// One of the two that a guest prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Whose request a guest works for when it prints: of an instance that serves several, the latest.
#[derive(Clone)]
pub(crate) struct Speaker {
    first: RequestId,
    /// Only where there may be others.
    latest: Option<Arc<Mutex<RequestId>>>,
}

impl Speaker {
    pub(crate) fn new(request: RequestId, others_may_follow: bool) -> Self {
        Self {
            first: request,
            latest: others_may_follow.then(|| Arc::new(Mutex::new(request))),
        }
    }

    pub(crate) fn set(&self, request: RequestId) {
        if let Some(latest) = &self.latest {
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = request;
        }
    }

    fn request(&self) -> RequestId {
        self.latest.as_ref().map_or(self.first, |latest| {
            *latest.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }
}

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
            let lines = Lines::new(
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
struct Writer(Arc<Mutex<Lines>>);

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

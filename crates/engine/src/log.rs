//! What a guest writes to its standard output and error, line by line.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::RequestId;

/// Bytes of one line in the log; a longer one is continued on the next.
const MAX_LINE: usize = 8 * 1024;

/// Bytes a guest may write in one go.
const WRITE_PERMIT: usize = 64 * 1024;

/// One standard stream of one guest. Clones write to the same line.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Lines>>);

impl GuestLog {
    pub(crate) fn new(application: Arc<str>, request: RequestId, stream: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            application,
            request,
            stream,
            partial: Vec::new(),
        })))
    }

    fn write(&self, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}

struct Lines {
    application: Arc<str>,
    request: RequestId,
    stream: &'static str,
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.fill(&bytes[..end]);
            self.emit();
            bytes = &bytes[end + 1..];
        }
        self.fill(bytes);
    }

    fn fill(&mut self, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() > MAX_LINE {
            let (now, later) = bytes.split_at(MAX_LINE - self.partial.len());
            self.partial.extend_from_slice(now);
            self.emit();
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn emit(&mut self) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        tracing::info!(
            application = &*self.application,
            request = %self.request,
            "{}: {}",
            self.stream,
            printable(line)
        );
        self.partial.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.emit();
        }
    }
}

/// The line without anything that a terminal or a log reader would act on: control characters
/// are escaped, bytes that are no UTF-8 become U+FFFD.
fn printable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(line).chars() {
        // The bidirectional controls reorder what a reader sees of the rest of the line.
        let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\t') || reorders || matches!(c, '\u{2028}' | '\u{2029}') {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}", c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestLog {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        GuestLog::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

impl Pollable for GuestLog {
    // What `#[async_trait]` makes of `async fn ready(&mut self) {}`.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for GuestLog {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        GuestLog::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_forge_or_colour_a_log_line() {
        assert_eq!(
            printable(b"a\x1b[31mb\r\x07\tc"),
            "a\\u{1b}[31mb\\r\\u{7}\tc"
        );
        assert_eq!(printable(b"\xff\xfe ok"), "\u{fffd}\u{fffd} ok");
        assert_eq!(
            printable("é\u{2028}\u{202e}".as_bytes()),
            "é\\u{2028}\\u{202e}"
        );
    }

    #[test]
    fn a_line_never_outgrows_its_bound() {
        let mut lines = Lines {
            application: "a".into(),
            request: RequestId::next(),
            stream: "stdout",
            partial: Vec::new(),
        };
        lines.push(&vec![b'x'; 3 * MAX_LINE + 5]);
        assert_eq!(lines.partial.len(), 5);
        lines.push(b"\n");
        assert!(lines.partial.is_empty());
    }
}

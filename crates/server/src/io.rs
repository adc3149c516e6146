use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::upstream::Switched;

/// Bytes that are rather copied than given to the kernel in pieces, which it takes one by one.
const SMALL: usize = 1024;

/// What a connection's socket and its messages know of each other.
#[derive(Clone, Default)]
pub(crate) struct Link(Arc<State>);

#[derive(Default)]
struct State {
    reset: AtomicBool,
    /// A write waits for the client.
    is_stalled: AtomicBool,
    requests: AtomicU64,
    /// Requests in progress, and their bodies.
    open: AtomicU64,
    /// What the connection becomes when hyper is done with it.
    switched: Mutex<Option<Switched>>,
}

impl Link {
    /// Has the connection end in a reset rather than in an orderly close.
    ///
    /// Only a reset tells the client of HTTP/1.0 that a body is cut off, since there the end of the
    /// connection is the end of the body (RFC 9112, section 6.3). It also frees what the kernel holds
    /// for a client that does not read.
    pub(crate) fn reset(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// A request, which is in progress until the returned value is dropped.
    pub(crate) fn begin(&self) -> Open {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.open()
    }

    /// A body that is still to be read from the socket until the returned value is dropped.
    pub(crate) fn open(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Whether all that has begun is over, and the connection waits for a request.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
            && !self.0.is_stalled.load(Ordering::Relaxed)
            && self.switched().is_none()
    }

    /// Has the connection be something else behind the response to come.
    pub(crate) fn switch(&self, to: Switched) {
        *self.switched() = Some(to);
    }

    /// What the connection has become, for who has it then.
    pub(crate) fn take_switched(&self) -> Option<Switched> {
        self.switched().take()
    }

    fn switched(&self) -> MutexGuard<'_, Option<Switched>> {
        // Nothing is left half done under this lock.
        (self.0.switched.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something in progress on a connection.
pub(crate) struct Open(Link);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's socket, with the bytes that were read to find out what it speaks, and a limit on
/// how long a client may take nothing.
pub(crate) struct ClientIo {
    stream: TcpStream,
    read_ahead: Bytes,
    send_timeout: Duration,
    /// Armed while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
    link: Link,
}

impl ClientIo {
    pub(crate) fn new(
        stream: TcpStream,
        read_ahead: Bytes,
        send_timeout: Duration,
        link: Link,
    ) -> Self {
        Self {
            stream,
            read_ahead,
            send_timeout,
            stalled: None,
            link,
        }
    }

    /// Puts back what has been read of the next request.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        debug_assert!(self.read_ahead.is_empty(), "it has been read first");
        self.read_ahead = bytes;
    }

    /// Waits until there is something to read, or the connection has ended. Cancel-safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.read_ahead.is_empty() {
            self.stream.readable().await
        } else {
            Ok(())
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            if self.stalled.take().is_some() {
                self.link.0.is_stalled.store(false, Ordering::Relaxed);
            }
            return write;
        }
        self.link.0.is_stalled.store(true, Ordering::Relaxed);
        let timeout = self.send_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if stalled.as_mut().poll(cx).is_ready() {
            // What the kernel still has for it is not to be kept for such a client, and without a
            // length it would take that for a whole body.
            self.link.reset();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.read_ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.read_ahead[..length]);
        self.read_ahead.advance(length);
        if self.read_ahead.is_empty() {
            self.read_ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        let write = if total <= SMALL {
            let mut whole = [0; SMALL];
            let mut rest = &mut whole[..];
            for slice in slices {
                // It fits, as the sum has shown.
                let _ = rest.write(slice);
            }
            Pin::new(&mut self.stream).poll_write(cx, &whole[..total])
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
        };
        self.watch(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.0.reset.load(Ordering::Relaxed) {
            // An orderly end would make the cut-off body look whole.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        if self.link.0.reset.load(Ordering::Relaxed) {
            // Closing a socket that does not linger resets the connection.
            if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
                tracing::warn!("a connection cannot be reset: {error}");
            }
        }
    }
}

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http_message::StallTimer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::connection::handshake;
use crate::connection::idle::IdleNotice;
use crate::exchange::client_body::DrainQueue;
use crate::exchange::gathering::Gatherings;
use crate::exchange::upstream::Switched;
use crate::held::{ConnectionHeld, WriteStalls};
use crate::link::first_byte::FirstByte;
use crate::link::hang_up::HangUpCheck;
use crate::link::turn::Turn;

/// Bytes that are rather copied than given to the kernel in pieces, which it takes one by one.
const MAX_COPIED: usize = 2048;

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
    /// Of the next request.
    first_byte: FirstByte,
    hang_up: HangUpCheck,
    turn: Turn,
    gatherings: Gatherings,
    idle_notice: IdleNotice,
    /// Bodies of HTTP/1 that were dropped unread.
    drain_queue: DrainQueue,
    /// A request had an `Upgrade` field, and hyper has not ended since.
    asks_for_upgrade: AtomicBool,
    /// The server has decided to close the connection after the present response.
    closes: AtomicBool,
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

    fn is_reset(&self) -> bool {
        self.0.reset.load(Ordering::Relaxed)
    }

    /// Has the first byte of each request's head noted, or no longer.
    pub(crate) fn want_first_bytes(&self, are_wanted: bool) {
        self.0.first_byte.want(are_wanted);
    }

    /// When the first byte of the request that begins now came, if that was noted.
    pub(crate) fn take_first_byte(&self) -> Option<Instant> {
        self.0.first_byte.take()
    }

    /// Something has been read, perhaps the first byte of a request.
    fn note_read(&self) {
        if self.0.first_byte.is_wanted() && self.0.open.load(Ordering::Relaxed) == 0 {
            self.0.first_byte.note_read();
        }
    }

    pub(crate) fn hang_up(&self) -> &HangUpCheck {
        &self.0.hang_up
    }

    pub(crate) fn turn(&self) -> &Turn {
        &self.0.turn
    }

    pub(crate) fn gatherings(&self) -> &Gatherings {
        &self.0.gatherings
    }

    pub(crate) fn idle_notice(&self) -> &IdleNotice {
        &self.0.idle_notice
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Whether a write waits for the client.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.is_stalled.load(Ordering::Relaxed)
    }

    /// Whether a request or its response is in progress.
    pub(crate) fn is_in_use(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }

    /// Whether all that has begun is over, and the connection waits for a request.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_in_use() && !self.is_stalled() && self.switched().is_none()
    }

    /// Where bodies of requests are left that nothing more is to be read of.
    pub(crate) fn drain_queue(&self) -> &DrainQueue {
        &self.0.drain_queue
    }

    /// Whether the responses to all requests of an HTTP/1 connection have been sent.
    pub(crate) fn is_answered(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) <= self.drain_queue().bodies() as u64
            && !self.0.is_stalled.load(Ordering::Relaxed)
    }

    /// A request has an `Upgrade` field, which hyper remembers until the connection ends.
    pub(crate) fn note_upgrade(&self) {
        self.0.asks_for_upgrade.store(true, Ordering::Relaxed);
    }

    /// Whether hyper has just ended for an upgrade that was asked for, but not made. True once.
    pub(crate) fn is_upgrade_refused(&self) -> bool {
        self.0.asks_for_upgrade.swap(false, Ordering::Relaxed) && self.switched().is_none()
    }

    /// The server closes the connection after the present response, without the client having asked for that.
    pub(crate) fn note_close(&self) {
        self.0.closes.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed_by_server(&self) -> bool {
        self.0.closes.load(Ordering::Relaxed)
    }

    /// Has the connection be something else behind the response to come.
    pub(crate) fn switch(&self, to: Switched) {
        *self.switched() = Some(to);
    }

    /// What the connection has become, for who has it then.
    pub(crate) fn take_switched(&self) -> Option<Switched> {
        // In a tunnel, a side that has ended may still be sent to.
        self.0.hang_up.cancel();
        self.switched().take()
    }

    fn switched(&self) -> MutexGuard<'_, Option<Switched>> {
        // Nothing is left half done under this lock.
        (self.0.switched.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something in progress on a connection.
pub(crate) struct Open(Link);

impl Open {
    pub(crate) fn link(&self) -> &Link {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.0.idle_notice.send();
        }
    }
}

/// What a client is heard and answered through, with the bytes that were read to find out what it
/// speaks.
pub(crate) struct ClientIo {
    stream: Stream,
    read_ahead: Bytes,
    writes: Writes,
}

/// How writes are counted, above TLS, which has a part of what is held for the client only.
enum Writes {
    /// It is not known yet what is spoken.
    Uncounted,
    Http1(WriteStalls),
    Http2(Arc<ConnectionHeld>),
}

impl Writes {
    /// Counts by what came of a write of `total` bytes.
    fn count(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<usize>>,
        total: impl FnOnce() -> usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Uncounted => write,
            Self::Http1(stalls) => stalls.watch(cx, write, total),
            Self::Http2(held) => {
                held.note_write(&write);
                write
            }
        }
    }
}

/// The socket is watched below TLS, where it takes bytes or does not.
enum Stream {
    Plain(Socket),
    /// In a box, so that connections without TLS are none the larger for it.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl ClientIo {
    pub(crate) fn plain(socket: Socket) -> Self {
        Self::over(Stream::Plain(socket))
    }

    pub(crate) fn tls(stream: TlsStream<Socket>) -> Self {
        Self::over(Stream::Tls(Box::new(stream)))
    }

    fn over(stream: Stream) -> Self {
        Self {
            stream,
            read_ahead: Bytes::new(),
            writes: Writes::Uncounted,
        }
    }

    /// The socket, below TLS.
    pub(crate) fn stream(&self) -> &sockets::Stream {
        &self.stream.socket().stream
    }

    /// Whether the connection ends in a reset.
    pub(crate) fn is_reset(&self) -> bool {
        self.stream.socket().link.is_reset()
    }

    /// Counts what is held for the client of HTTP/1 while it takes nothing.
    pub(crate) fn count_write_stalls(&mut self, stalls: WriteStalls) {
        self.writes = Writes::Http1(stalls);
    }

    /// Counts what is written for the client of HTTP/2.
    pub(crate) fn count_writes(&mut self, held: Arc<ConnectionHeld>) {
        self.writes = Writes::Http2(held);
    }

    /// Puts back what has been read last.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.read_ahead = if bytes.is_empty() {
            // It would still hold on to its buffer.
            return;
        } else if self.read_ahead.is_empty() {
            bytes
        } else {
            [bytes, std::mem::take(&mut self.read_ahead)]
                .concat()
                .into()
        };
    }

    /// Drops what was put back, and not read again.
    pub(crate) fn forget_read_ahead(&mut self) {
        self.read_ahead = Bytes::new();
    }

    /// Waits until there is something to read, or the connection has ended.
    ///
    /// No `async` function: what it would keep meanwhile, each idle connection would have.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(socket) => socket.stream.poll_read_ready(cx),
            // What the socket has may be no content, and content may be read already.
            Stream::Tls(stream) => {
                let mut read = BytesMut::new();
                ready!(handshake::poll_read_some(stream, &mut read, cx))?;
                stream.get_ref().0.note_read();
                self.read_ahead = read.freeze();
                Poll::Ready(Ok(()))
            }
        }
    }

    fn check_hang_up(&self) -> io::Result<()> {
        let socket = self.stream.socket();
        socket.link.0.hang_up.run(&socket.stream)
    }

    /// Ends the connection in order. With TLS the client is told, or it could not tell that from
    /// somebody else's end (RFC 8446, section 6.1); without, the end of the socket says it all.
    pub(crate) async fn close(&mut self) {
        if let Stream::Tls(_) = self.stream {
            // If it is gone already, all the better.
            let _ = self.shutdown().await;
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            let filled = buffer.filled().len();
            let read = match &mut self.stream {
                Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
                Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            };
            if buffer.filled().len() > filled {
                self.stream.socket().note_read();
            }
            return read;
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
        self.check_hang_up()?;
        let write = match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.writes.count(cx, write, || bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_hang_up()?;
        let write = match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        let total = || slices.iter().map(|slice| slice.len()).sum();
        self.writes.count(cx, write, total)
    }

    fn is_write_vectored(&self) -> bool {
        // TLS makes one record of several slices.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_hang_up()?;
        let flush = match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if let Writes::Http2(held) = &self.writes {
            held.note_flush(flush.is_ready());
        }
        flush
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_reset() {
            // An orderly end would make the cut-off body look whole.
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A client's socket, with a limit on how long a client may take nothing.
pub(crate) struct Socket {
    stream: sockets::Stream,
    /// The first byte, if it has been looked at.
    first: Option<u8>,
    /// With a write that waits for the client.
    stall_timer: StallTimer,
    link: Link,
}

impl Socket {
    pub(crate) fn new(stream: sockets::Stream, send_timeout: Duration, link: Link) -> Self {
        Self {
            stream,
            first: None,
            stall_timer: StallTimer::new(send_timeout),
            link,
        }
    }

    pub(crate) fn stream(&self) -> &sockets::Stream {
        &self.stream
    }

    /// Something has been read that is not TLS's own: perhaps the first byte of a request.
    pub(crate) fn note_read(&self) {
        self.link.note_read();
    }

    /// Puts back the first byte.
    pub(crate) fn put_back(&mut self, first: u8) {
        self.first = Some(first);
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            if self.stall_timer.disarm() {
                self.link.0.is_stalled.store(false, Ordering::Relaxed);
            }
            return write;
        }
        self.link.0.is_stalled.store(true, Ordering::Relaxed);
        ready!(self.stall_timer.poll_expired(cx));
        // What the kernel still has for it is not to be kept for such a client, and without a
        // length it would take that for a whole body.
        self.link.reset();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            // What came with it, too: who takes offence at the first byte closes, and with others unread
            // that would reset the connection.
            return match Pin::new(&mut self.stream).poll_read(cx, buffer) {
                Poll::Ready(read) => Poll::Ready(read),
                Poll::Pending => Poll::Ready(Ok(())),
            };
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
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
        let write = if let [slice] = slices {
            Pin::new(&mut self.stream).poll_write(cx, slice)
        } else if total <= MAX_COPIED {
            let mut whole = [0; MAX_COPIED];
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Closing a socket that does not linger resets the connection.
        if self.link.is_reset()
            && let Err(error) = self.stream.reset_at_close()
        {
            tracing::warn!("a connection cannot be reset: {error}");
        }
    }
}

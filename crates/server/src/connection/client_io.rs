//! The bytes of a client's connection, with or without TLS.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_message::StallTimer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::held::{ConnectionHeld, WriteStalls};
use crate::link::ConnectionState;

/// Slices with at most so many bytes in all are copied into one, since the kernel would take them one by one.
const MAX_COPIED: usize = 2048;

/// Bytes that are read at a time until the protocol is known.
const READ_AT_ONCE: usize = 4 * 1024;

/// The stream that hyper reads and writes: a socket, perhaps with TLS, after the bytes that were read to sniff the
/// protocol.
pub(crate) struct ClientIo {
    stream: Transport,
    read_ahead: Bytes,
    writes: Writes,
}

/// How writes are counted. Above TLS, since TLS has only a part of what is held for the client.
enum Writes {
    /// The protocol is not known yet.
    Uncounted,
    Http1(WriteStalls),
    Http2(Arc<ConnectionHeld>),
}

impl Writes {
    /// Counts the result of a write of `total` bytes.
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

/// The stall timer is in the [`Socket`], below TLS: only there it shows whether the client accepts bytes.
enum Transport {
    Plain(Socket),
    /// Boxed, so that connections without TLS have no room for it.
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl ClientIo {
    pub(crate) fn plain(socket: Socket) -> Self {
        Self::over(Transport::Plain(socket))
    }

    pub(crate) fn tls(stream: TlsStream<Socket>) -> Self {
        Self::over(Transport::Tls(Box::new(stream)))
    }

    fn over(stream: Transport) -> Self {
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

    /// From now on, counts what is held for an HTTP/1 client while it accepts nothing.
    pub(crate) fn count_write_stalls(&mut self, stalls: WriteStalls) {
        self.writes = Writes::Http1(stalls);
    }

    /// From now on, counts what is written for an HTTP/2 client.
    pub(crate) fn count_writes(&mut self, held: Arc<ConnectionHeld>) {
        self.writes = Writes::Http2(held);
    }

    /// Puts back what has been read last.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.read_ahead = if bytes.is_empty() {
            // Empty `Bytes` can still keep a buffer in memory.
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
    pub(crate) fn discard_read_ahead(&mut self) {
        self.read_ahead = Bytes::new();
    }

    /// Waits until there is something to read, or the connection has ended.
    ///
    /// Not an `async fn`: each idle connection would have room for its state.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Transport::Plain(socket) => socket.stream.poll_read_ready(cx),
            // The socket may have bytes that are not content, and TLS may have content that it has read already.
            Transport::Tls(stream) => {
                let mut read = BytesMut::new();
                ready!(poll_read_some(stream, &mut read, cx))?;
                stream.get_ref().0.note_read();
                self.read_ahead = read.freeze();
                Poll::Ready(Ok(()))
            }
        }
    }

    fn check_hang_up(&self) -> io::Result<()> {
        let socket = self.stream.socket();
        socket.link.hang_up().run(&socket.stream)
    }

    /// Closes the connection in order. With TLS that takes a `close_notify`: without it the client could not tell
    /// this end from a truncation attack (RFC 8446, section 6.1). Without TLS, the socket's end suffices.
    pub(crate) async fn close(&mut self) {
        if let Transport::Tls(_) = self.stream {
            // The client may be gone already.
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
                Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
                Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
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
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
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
            Transport::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
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
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if let Writes::Http2(held) = &self.writes {
            held.note_flush(flush.is_ready());
        }
        flush
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_reset() {
            // An orderly end would make the cut-off body look complete.
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Waits for something to read and reads it, without a buffer before there is something; 0 at the
/// end.
pub(crate) fn poll_read_some(
    stream: &mut TlsStream<Socket>,
    buffer: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut piece = [0; READ_AT_ONCE];
    let mut piece = ReadBuf::new(&mut piece);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    buffer.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// A client's socket, with a limit on how long the client may accept no bytes.
pub(crate) struct Socket {
    stream: sockets::Stream,
    /// The first byte, if it has been looked at.
    first: Option<u8>,
    /// With a write that waits for the client.
    stall_timer: StallTimer,
    link: ConnectionState,
}

impl Socket {
    pub(crate) fn new(
        stream: sockets::Stream,
        send_timeout: Duration,
        link: ConnectionState,
    ) -> Self {
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
    pub(crate) fn unread(&mut self, first: u8) {
        self.first = Some(first);
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            if self.stall_timer.disarm() {
                self.link.set_stalled(false);
            }
            return write;
        }
        self.link.set_stalled(true);
        ready!(self.stall_timer.poll_expired(cx));
        // The reset frees what the kernel still has for the client. Without it, a body without a length would
        // look complete.
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
            // Read what came with it as well: a reader that refuses the first byte closes the socket, and with
            // bytes unread that would reset the connection.
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
                // It fits: `total` is at most `MAX_COPIED`.
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
            tracing::warn!(
                "cannot reset a connection: {error}; its client may mistake a cut-off response for a complete one"
            );
        }
    }
}

//! Lets the streams of an HTTP/2 connection read what has been received before more is.
//!
//! h2 reads frames for as long as there are any, and ends a connection of which too many small ones are
//! unread. So a client that sends many at once would be taken for one whose streams are not read. Nothing is
//! read while streams wait for their [turn](crate::connection::stream_turns).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream_turns::StreamTurns;

/// Bytes that are read in one turn of a connection, and up to one read more.
const ENOUGH: usize = 4 * 1024;

/// A connection that is read a little in each turn of its task.
pub(crate) struct ReadTurns<T> {
    io: T,
    /// Bytes that were read since there was a wait.
    read: usize,
    streams: Arc<StreamTurns>,
}

impl<T> ReadTurns<T> {
    /// The connection is polled again, by [`InTurns`](crate::connection::stream_turns::InTurns), once no stream waits.
    pub(crate) fn new(io: T, streams: Arc<StreamTurns>) -> Self {
        Self {
            io,
            read: 0,
            streams,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadTurns<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.streams.is_awaited() {
            self.read = 0;
            return Poll::Pending;
        }
        if self.read >= ENOUGH {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_pending() {
            self.read = 0;
        }
        ready!(read)?;
        self.read += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadTurns<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

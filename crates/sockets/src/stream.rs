//! A connected TCP or Unix socket, registered with a tokio runtime.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

/// Between two attempts to connect to a Unix socket whose backlog is full.
const FULL_BACKLOG: Duration = Duration::from_millis(10);

/// A connected socket. The methods that take `&self` are for one reading and one writing task at a time, as those
/// of tokio's streams.
#[derive(Debug)]
pub enum Stream {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

macro_rules! either {
    ($stream:expr, $it:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($it) => $call,
            Stream::Unix($it) => $call,
        }
    };
}

impl Stream {
    /// Connects by TCP, without a time-out of its own. `TCP_NODELAY` is set; if the system refuses, that is logged,
    /// and the connection is used without it.
    ///
    /// # Errors
    ///
    /// Those of `connect(2)`.
    pub async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // Nagle's algorithm would delay a small request until the previous one is acknowledged.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!("cannot set TCP_NODELAY on a connection to {address}: {error}");
        }
        Ok(Self::Tcp(stream))
    }

    /// Connects to the Unix socket at `path`, without a time-out of its own; a leading NUL stands for the abstract
    /// namespace. Waits while the socket's backlog is full.
    ///
    /// # Errors
    ///
    /// Those of `connect(2)` but `EAGAIN`.
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        loop {
            match UnixStream::connect(path).await {
                // A non-blocking connect fails at once if the backlog is full, and nothing reports that there is
                // room in it again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep(FULL_BACKLOG).await;
                }
                connected => return Ok(Self::Unix(connected?)),
            }
        }
    }

    /// Waits until there are bytes to read, or the end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// When the runtime is shut down, as for all that wait for readiness here.
    pub async fn readable(&self) -> io::Result<()> {
        either!(self, it => it.readable().await)
    }

    /// As [`Stream::readable`].
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, it => it.poll_read_ready(cx))
    }

    /// Waits until the kernel takes bytes, or writing fails.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, it => it.poll_write_ready(cx))
    }

    /// Reads what is there, without waiting. 0 bytes are the end.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is nothing, and those of `read(2)`.
    pub fn try_read_buf<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        either!(self, it => it.try_read_buf(buffer))
    }

    /// Writes what the kernel takes, without waiting.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if it takes nothing, and those of `write(2)`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, it => it.try_write(bytes))
    }

    /// As [`Stream::try_write`].
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, it => it.try_write_vectored(slices))
    }

    /// Shuts down the sending side. That the peer has closed the connection already is no error.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match SockRef::from(self).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            ended => ended,
        }
    }

    /// Whether the peer has closed the connection or shut down its sending side, even if bytes before that are still
    /// unread.
    pub fn is_hung_up(&self) -> bool {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(self, PollFlags::RDHUP)];
        // An interrupted call is repeated at the next check.
        matches!(poll(&mut polled, Some(&NOW)), Ok(count) if count > 0)
    }

    /// Makes closing reset the connection, and discard what the kernel has not sent. Unix sockets have no reset:
    /// there the peer reads what was sent, and then an end.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn reset_at_close(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }

    /// The process that has opened the connection, if it is a Unix socket's (`SO_PEERCRED`). `None` for TCP.
    pub fn peer_process(&self) -> Option<u32> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(stream) => u32::try_from(stream.peer_cred().ok()?.pid()?).ok(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, it => it.as_fd())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(&mut *self, it => Pin::new(it).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(&mut *self, it => Pin::new(it).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut *self, it => Pin::new(it).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, it => it.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut *self, it => Pin::new(it).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut *self, it => Pin::new(it).poll_shutdown(cx))
    }
}

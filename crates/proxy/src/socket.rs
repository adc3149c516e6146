//! The socket of one connection to a server: limits on writes, leases, and whether bytes have come.

use std::any::Any;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_message::StallTimer;
use parking_lot::Mutex;
use socket2::SockRef;
use sockets::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

use crate::server::Address;
use crate::{ProxyError, Server};

/// How long a server that has stopped reading is still read from: it may have sent a response that says why.
const READ_AFTER_BROKEN_PIPE: Duration = Duration::from_secs(1);

/// What a caller counts connections with: a connection holds one for as long as its socket is open.
pub(crate) type Lease = Arc<dyn Any + Send + Sync>;

/// A connection's socket.
pub(crate) struct Socket {
    stream: Stream,
    has_received: Arc<AtomicBool>,
    /// Of the last request.
    lease: Mutex<Option<Lease>>,
}

/// A view of a socket that belongs to hyper. It does not keep the socket open.
#[derive(Debug)]
pub(crate) struct SocketView {
    socket: Weak<Socket>,
    /// Bytes have come since the last request began.
    has_received: Arc<AtomicBool>,
}

impl Socket {
    pub(crate) async fn connect(server: &Server, within: Duration) -> Result<Self, ProxyError> {
        let connecting = async {
            match server.address() {
                Address::Tcp(address) => Stream::connect_tcp(*address).await,
                Address::Unix(path) => Stream::connect_unix(path).await,
            }
        };
        let connected = timeout(within, connecting).await;
        let stream = connected
            .map_err(|_| ProxyError::ConnectTimeout)?
            .map_err(ProxyError::of_connecting)?;
        Ok(Self {
            stream,
            has_received: Arc::default(),
            lease: Mutex::default(),
        })
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl SocketView {
    /// Whether there is nothing to read, neither a byte nor the end. hyper notices both, too, but possibly only after
    /// the next request has been sent, and would take such bytes for its response (response smuggling).
    pub(crate) fn is_quiet(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else {
            return false;
        };
        let peeked = SockRef::from(&socket.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// A request begins: bytes from now on are of its response, and the connection holds `lease` until the next request
    /// begins or the socket is closed. That may be long after the response, while the rest of an upload is sent.
    pub(crate) fn begin(&self, lease: &Lease) {
        self.has_received.store(false, Ordering::Release);
        if let Some(socket) = self.socket.upgrade() {
            let before = socket.lease.lock().replace(Arc::clone(lease));
            // After the lock: a lease runs the caller's code when it is dropped.
            drop(before);
        }
    }

    /// Takes the lease of a connection that is going to be closed.
    pub(crate) fn take_lease(&self) -> Option<Lease> {
        self.socket.upgrade()?.lease.lock().take()
    }

    pub(crate) fn has_received(&self) -> bool {
        self.has_received.load(Ordering::Acquire)
    }
}

/// A socket as hyper uses it. Dropping this closes the socket.
#[derive(Debug)]
pub(crate) struct SocketIo {
    socket: Arc<Socket>,
    /// Runs while a write waits for the server.
    stall_timer: StallTimer,
    /// Why the server takes no more bytes. hyper gets the error when the response has had its time to come.
    broken: Option<(io::Error, Pin<Box<Sleep>>)>,
}

impl SocketIo {
    pub(crate) fn new(socket: Socket, send_timeout: Duration) -> Self {
        Self {
            socket: Arc::new(socket),
            stall_timer: StallTimer::new(send_timeout),
            broken: None,
        }
    }

    pub(crate) fn view(&self) -> SocketView {
        SocketView {
            socket: Arc::downgrade(&self.socket),
            has_received: Arc::clone(&self.socket.has_received),
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if let Some((error, pause)) = &mut self.broken {
            ready!(pause.as_mut().poll(cx));
            return Poll::Ready(Err(error.kind().into()));
        }
        let written = loop {
            let stream = &self.socket.stream;
            let is_ready = stream.poll_write_ready(cx)?;
            if is_ready.is_pending() {
                ready!(self.stall_timer.poll_expired(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            match attempt(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => break written,
            }
        };
        self.stall_timer.disarm();
        match written {
            Err(error) if is_end(&error) => {
                let mut pause = Box::pin(sleep(READ_AFTER_BROKEN_PIPE));
                let _ = pause.as_mut().poll(cx);
                self.broken = Some((error, pause));
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl AsyncRead for SocketIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.socket.stream;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(length) => {
                    if length > 0 {
                        self.socket.has_received.store(true, Ordering::Release);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SocketIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream| stream.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.stream.shutdown_write())
    }
}

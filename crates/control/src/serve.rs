//! The accept loop and its connections.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::select;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::write_timeout::WriteTimeout;
use crate::{Control, Runtime};

/// The first wait after a failed accept; each further failure doubles it.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(10);
/// The longest wait: short enough that a freed file descriptor is soon used.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// What connections come from.
pub trait Listen: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection. The future may be dropped before it is ready, and
    /// no connection must be lost by that.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl<R: Runtime> Control<R> {
    /// Serves the control API on `listener` until `shutdown` is ready. Then it
    /// accepts no more, lets the requests in progress end, waits for every
    /// change that goes on, and returns.
    ///
    /// A failed accept is logged and tried again after a wait. Several listeners
    /// may be served at a time. Dropping the future cuts the connections off;
    /// a change that goes on is finished all the same.
    pub async fn serve<L: Listen>(&self, listener: L, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let places = Arc::new(Semaphore::new(self.limits().connections));
        let draining = watch::Sender::new(());
        let mut connections = JoinSet::new();
        let mut backoff = SHORTEST_BACKOFF;
        loop {
            while connections.try_join_next().is_some() {}
            let next = async {
                // A place first: whoever finds none waits in the backlog.
                let place = Arc::clone(&places).acquire_owned().await;
                listener.accept().await.map(|stream| (stream, place))
            };
            let accepted = select! {
                () = &mut shutdown => break,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    backoff = SHORTEST_BACKOFF;
                    let connection = self.clone().connection(stream, draining.subscribe());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    select! {
                        () = &mut shutdown => break,
                        () = sleep(backoff) => backoff = (backoff * 2).min(LONGEST_BACKOFF),
                    }
                }
            }
        }
        drop(listener);
        drop(draining);
        while connections.join_next().await.is_some() {}
        self.settled().await;
    }

    async fn connection<S>(self, stream: S, mut draining: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = *self.limits();
        let service = service_fn(move |request| {
            let control = self.clone();
            async move { Ok::<_, Infallible>(control.respond(request).await) }
        });
        let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_read)
            .max_header_size(limits.header_size)
            // hyper panics below this.
            .max_buf_size(limits.header_size.max(8 << 10))
            // As in Unit, one request each.
            .keep_alive(false)
            // A client may shut its sending side down and wait for the answer.
            .half_close(true)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        let ended = select! {
            ended = connection.as_mut() => ended,
            // The sender is dropped when draining starts.
            _ = draining.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "control connection failed");
        }
    }
}

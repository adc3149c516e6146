//! The socket for health checks alone, which may be reachable for more than the control API is.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};

use crate::answer::{Failure, Success, response};
use crate::http1::{AcceptBackoff, has_answer, http1};
use crate::write_timeout::WriteTimeout;
use crate::{Health, Limits, Listen, closing};

/// Connections at a time. A further one takes the place of the oldest: a check sends its request at once, while clients
/// that send none could keep it out if it had to wait for them.
const CONNECTIONS: usize = 32;

/// A check that takes longer than this to be sent, or to be read, has failed for its client anyway.
const SLOWEST: Duration = Duration::from_secs(5);

impl Health {
    /// Answers `GET` and `HEAD` of `/live` and `/ready` on `listener`, until the future is dropped: 200, or 503 with
    /// the reason.
    ///
    /// Up to 32 connections are served at a time, each with one request, whose header has 8 KiB at most and arrives
    /// within 5 seconds. The oldest is closed for a further one. A failed accept is logged and retried after a wait.
    pub async fn serve<L: Listen>(&self, listener: L) {
        let mut connections = JoinSet::new();
        let mut open = VecDeque::with_capacity(CONNECTIONS);
        let mut backoff = AcceptBackoff::default();
        loop {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok(stream) => {
                    backoff.reset();
                    make_room(&mut open);
                    open.push_back(connections.spawn(self.clone().connection(stream)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for health checks");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn connection<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = limits();
        let service = service_fn(|request| {
            let health = self.clone();
            async move { Ok::<_, Infallible>(health.respond(&request).await) }
        });
        let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_stall));
        let mut connection = http1(&limits).serve_connection(stream, service);
        let served = (&mut connection).await;
        if has_answer(&served) {
            let stream = connection.into_parts().io.into_inner();
            closing::close(stream, limits.linger, &limits).await;
        }
    }

    async fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        response(match request.uri().path() {
            "/live" | "/ready" if !is_read => Err(Failure::NotAllowed {
                allowed: "GET, HEAD",
            }),
            "/live" => Ok(Success::Health(self.live().await)),
            "/ready" => Ok(Success::Health(self.ready())),
            _ => Err(Failure::NotFound),
        })
    }
}

/// Makes room for one more connection. The oldest is in front.
fn make_room(open: &mut VecDeque<AbortHandle>) {
    if open.len() < CONNECTIONS {
        return;
    }
    open.retain(|connection| !connection.is_finished());
    if open.len() == CONNECTIONS
        && let Some(oldest) = open.pop_front()
    {
        oldest.abort();
    }
}

/// Much lower than those of the control API, since a check is small.
fn limits() -> Limits {
    Limits {
        connections: CONNECTIONS,
        header_read: SLOWEST,
        write_stall: SLOWEST,
        header_size: 8 << 10,
        body_size: 16 << 10,
        linger: Duration::from_secs(1),
        ..Limits::default()
    }
}

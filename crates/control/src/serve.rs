//! The accept loop and its connections.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use unit_log::LogInterval;

use crate::line::Arrival;
use crate::write_timeout::WriteTimeout;
use crate::{Control, Listen, Origin, Runtime, closing};

/// The first wait after a failed accept; each further failure doubles it.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(10);
/// The longest wait: short enough that a freed file descriptor is soon used.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Proxied connections beyond their limit that are answered 503 at a time; further ones are just closed.
const REFUSALS: usize = 16;

/// For how long, instead of [`Limits::linger`](crate::Limits::linger), the server reads on from a client that has got
/// its answer while the server stops.
const LAST_LINGER: Duration = Duration::from_millis(200);

/// How often the log says that there are too many proxied connections.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

impl<R: Runtime> Control<R> {
    /// Serves the control API on `listener` until `shutdown` is ready. Then it
    /// accepts no more, lets the requests in progress end, waits for every
    /// change that goes on, and returns. Connections without a request, those that have got their answers, and
    /// [proxied](Origin::Proxied) ones are dropped at once.
    ///
    /// A failed accept is logged and tried again after a wait. Several listeners
    /// may be served at a time. Dropping the future cuts the connections off;
    /// a change that goes on is finished all the same.
    pub async fn serve<L: Listen>(&self, listener: L, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let draining = watch::Sender::new(());
        let mut connections = JoinSet::new();
        let refusals = Refusals::default();
        let mut backoff = SHORTEST_BACKOFF;
        loop {
            while connections.try_join_next().is_some() {}
            let next = async {
                // A place first: connections that find none wait in the backlog.
                let place = self.quotas().of(Origin::Operator).connection().await;
                listener.accept().await.map(|stream| (stream, place))
            };
            let accepted = select! {
                () = &mut shutdown => break,
                accepted = next => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    select! {
                        () = &mut shutdown => break,
                        () = sleep(backoff) => backoff = (backoff * 2).min(LONGEST_BACKOFF),
                    }
                    continue;
                }
            };
            backoff = SHORTEST_BACKOFF;
            let origin = listener.origin(&stream);
            let place = match origin {
                Origin::Operator => place,
                // It leaves the place to an operator.
                Origin::Proxied => self.quotas().of(origin).free_connection(),
            };
            let limit = self.limits().proxied_connections;
            if let Some(place) = place {
                let control = self.clone();
                // Here, in the order of accepts, and not when its task has its first turn.
                let arrival = self.arrive(origin);
                let connection = control.connection(stream, arrival, draining.subscribe());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            } else if let Some(refusal) = refusals.next(limit) {
                let mut draining = draining.subscribe();
                connections.spawn(async move {
                    select! {
                        () = closing::refuse(stream, limit) => {}
                        () = wait_for_drain(&mut draining) => {}
                    }
                    drop(refusal);
                });
            }
        }
        drop(listener);
        drop(draining);
        while connections.join_next().await.is_some() {}
        self.settled().await;
    }

    async fn connection<S>(self, stream: S, arrival: Arrival, mut draining: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = *self.limits();
        let origin = arrival.origin();
        let arrival = Mutex::new(Some(arrival));
        // It is there until there is a request.
        let take_arrival = || (arrival.lock().unwrap_or_else(PoisonError::into_inner)).take();
        let service = service_fn(|request| {
            let control = self.clone();
            // There is one request.
            let arrival = take_arrival().unwrap_or_else(|| control.arrive(origin));
            async move { Ok::<_, Infallible>(control.respond(request, arrival).await) }
        });
        let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_stall));
        let mut connection = http1::Builder::new()
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
        let served = select! {
            biased;
            served = &mut connection => served,
            () = wait_for_drain(&mut draining) => {
                let has_request = take_arrival().is_none();
                if origin == Origin::Proxied || !has_request {
                    return;
                }
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        // Others need not wait for a request that cannot be parsed.
        drop(take_arrival());
        if let Err(error) = &served {
            tracing::debug!(%error, "control connection failed");
        }
        // What hyper cannot parse it has answered as well.
        if served.is_ok()
            || served.is_err_and(|error| error.is_parse() || error.is_parse_too_large())
        {
            // The sender is gone.
            let is_draining = draining.has_changed().is_err();
            let linger = if is_draining {
                limits.linger.min(LAST_LINGER)
            } else {
                limits.linger
            };
            let stream = connection.into_parts().io.into_inner();
            select! {
                () = closing::close(stream, linger, &limits) => {}
                () = wait_for_drain(&mut draining), if !is_draining => {}
            }
        }
    }
}

/// Waits until draining starts, when the sender is dropped.
async fn wait_for_drain(draining: &mut watch::Receiver<()>) {
    _ = draining.changed().await;
}

/// Connections for which there is no place.
struct Refusals {
    places: Arc<Semaphore>,
    warning: LogInterval,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(REFUSALS)),
            warning: LogInterval::new(WARNING_PERIOD),
        }
    }
}

impl Refusals {
    /// A place to refuse one more of those beyond `limit`, if there is one.
    fn next(&self, limit: usize) -> Option<OwnedSemaphorePermit> {
        if self.warning.is_due() {
            tracing::warn!(
                "limit of control connections through listeners ({limit}) reached; answering 503"
            );
        }
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

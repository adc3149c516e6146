//! The accept loop of the control API and its connections, each with one request. What a request does is in `api`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use unit_log::LogInterval;

use crate::http1::{AcceptBackoff, has_answer, http1};
use crate::line::Arrival;
use crate::write_timeout::WriteTimeout;
use crate::{Control, Listen, Origin, Runtime, closing};

/// Proxied connections over the limit that are answered with 503 at the same time. Further ones are closed.
const REFUSALS: usize = 16;

/// Replaces a longer [`Limits::linger`](crate::Limits::linger) during a graceful shutdown.
const LAST_LINGER: Duration = Duration::from_millis(200);

/// The shortest time between two warnings about too many proxied connections.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

impl<R: Runtime> Control<R> {
    /// Serves the control API on `listener` until `shutdown` is ready. Then it shuts down gracefully: it
    /// accepts no more connections, waits for requests and changes in progress, and returns.
    /// Connections without a request, those that have got their answers, and [proxied](Origin::Proxied) ones are
    /// closed immediately.
    ///
    /// A failed accept is logged and retried after a wait. Several listeners may be served at the same time. Dropping
    /// the future aborts the connections, but not a change in progress.
    pub async fn serve<L: Listen>(&self, listener: L, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let draining = watch::Sender::new(());
        let mut connections = JoinSet::new();
        let refusals = Refusals::default();
        let mut backoff = AcceptBackoff::default();
        loop {
            while connections.try_join_next().is_some() {}
            let next = async {
                // The permit first, so that connections over the limit wait in the kernel's backlog.
                let permit = self.quotas().of(Origin::Operator).connection().await;
                listener.accept().await.map(|stream| (stream, permit))
            };
            let accepted = select! {
                () = &mut shutdown => break,
                accepted = next => accepted,
            };
            let (stream, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    select! {
                        () = &mut shutdown => break,
                        () = backoff.wait() => {}
                    }
                    continue;
                }
            };
            backoff.reset();
            let origin = listener.origin(&stream);
            let permit = match origin {
                Origin::Operator => permit,
                // The operators' permit is released.
                Origin::Proxied => self.quotas().of(origin).free_connection(),
            };
            let limit = self.limits().proxied_connections;
            if let Some(permit) = permit {
                let control = self.clone();
                // Here, in the order of accepts, and not when the task is first polled.
                let arrival = self.arrive(origin);
                let connection = control.connection(stream, arrival, draining.subscribe());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
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
        // Taken by the first request.
        let take_arrival = || arrival.lock().take();
        let service = service_fn(|request| {
            let control = self.clone();
            // A second request cannot happen, since keep-alive is off.
            let arrival = take_arrival().unwrap_or_else(|| control.arrive(origin));
            async move { Ok::<_, Infallible>(control.respond(request, arrival).await) }
        });
        let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_stall));
        let mut connection = http1(&limits).serve_connection(stream, service);
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
        // A request that could not be parsed must not delay the changes of others.
        drop(take_arrival());
        if let Err(error) = &served {
            tracing::debug!(%error, "control connection failed");
        }
        if has_answer(&served) {
            // An error means that the sender is dropped, which starts draining.
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

/// Waits for the start of draining: the drop of the sender.
async fn wait_for_drain(draining: &mut watch::Receiver<()>) {
    _ = draining.changed().await;
}

/// Proxied connections over the limit, which are being refused.
struct Refusals {
    permits: Arc<Semaphore>,
    warning: LogInterval,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(REFUSALS)),
            warning: LogInterval::new(WARNING_PERIOD),
        }
    }
}

impl Refusals {
    /// A permit to answer one more connection over `limit` with 503. `None` closes it without an answer.
    fn next(&self, limit: usize) -> Option<OwnedSemaphorePermit> {
        if self.warning.is_due() {
            tracing::warn!(
                "limit of control connections through listeners ({limit}) reached; answering 503"
            );
        }
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }
}

//! Graceful shutdown: the signals that ask for it, how long it is put off, and how long requests in progress may take.
//! What is waited for is `Server::drain` and `Engine::wait_idle`, in the order of `daemon`.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use control::Health;
use server::Server;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tokio::sync::oneshot;

use crate::arguments::ServingOptions;
use crate::log::Log;
use crate::service_manager;

/// How long an immediate stop waits for the log to be written.
const LAST_LINES: Duration = Duration::from_millis(200);

/// The signals that stop the server: the first one gracefully, the second one immediately.
pub(crate) struct StopSignals(oneshot::Receiver<&'static str>);

impl StopSignals {
    /// Replaces the signals' default action, which is to kill the process. From the first signal on, the server is not
    /// ready.
    ///
    /// A separate thread waits for them, so that the second one works even if all other threads are blocked.
    pub(crate) fn listen(log: &Log, health: &Health) -> Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT])?;
        let (sender, receiver) = oneshot::channel();
        let (log, health) = (log.clone(), health.clone());
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut signals = signals.forever();
                if let Some(signal) = signals.next() {
                    // Here, so that it takes effect at once even if the server is still starting.
                    health.set_problem("shutdown", Some("shutting down"));
                    // Fails if the server has stopped already.
                    let _ = sender.send(name(signal));
                }
                if let Some(signal) = signals.next() {
                    tracing::warn!(
                        "second {}: stopping immediately, aborting requests in progress",
                        name(signal)
                    );
                    log.flush(LAST_LINES);
                    low_level::exit(1);
                }
            })
            .context("cannot start the thread that waits for signals")?;
        Ok(Self(receiver))
    }

    /// Waits for the first signal, and then for `--shutdown-delay`, in which the listeners still accept: load balancers
    /// need some time to learn that the server is not ready, and a connection that is refused meanwhile would be a
    /// failed request. Connections that are kept end with their next response, so that few are left to be closed.
    pub(crate) async fn requested(self, serving: &ServingOptions, server: &Server) {
        let Ok(name) = self.0.await else {
            // Cannot happen: the thread never ends.
            return std::future::pending().await;
        };
        let delay = serving.shutdown_delay;
        service_manager::stopping(delay.saturating_add(serving.shutdown_timeout));
        if !delay.is_zero() {
            tracing::info!(
                "{name}: not ready any more; accepting connections for {} more seconds (--shutdown-delay)",
                delay.as_secs()
            );
            server.announce_shutdown();
            tokio::time::sleep(delay).await;
        }
        tracing::info!("{name}: shutting down gracefully, waiting for requests in progress");
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        _ => "SIGQUIT",
    }
}

/// Waits for `drain`, for `limit` at most. The exit code says whether it finished.
pub(crate) async fn drain(limit: Duration, drain: impl Future<Output = ()>) -> ExitCode {
    tokio::select! {
        () = drain => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        () = tokio::time::sleep(limit) => {
            tracing::warn!(
                "requests still in progress after {} seconds (--shutdown-timeout): aborting them",
                limit.as_secs()
            );
            ExitCode::FAILURE
        }
    }
}

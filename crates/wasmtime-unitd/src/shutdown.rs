//! How the server stops.

use std::process::{ExitCode, exit};
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop the server.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl StopSignals {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }

    /// Lets `drain` finish, unless it takes too long or a second signal comes.
    pub(crate) async fn drain(
        mut self,
        limit: Duration,
        drain: impl Future<Output = ()>,
    ) -> ExitCode {
        tokio::select! {
            () = drain => {
                tracing::info!("stopped");
                ExitCode::SUCCESS
            }
            () = tokio::time::sleep(limit) => {
                tracing::warn!(
                    "requests were still in progress {} seconds after the signal, and are cut off",
                    limit.as_secs()
                );
                ExitCode::FAILURE
            }
            name = self.next() => {
                tracing::warn!("{name} again: requests in progress are cut off");
                // Nothing that is still to do may hold this up.
                exit(1)
            }
        }
    }
}

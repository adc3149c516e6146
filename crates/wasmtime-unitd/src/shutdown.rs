//! How the server stops.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tokio::sync::oneshot;

use crate::log::Log;

/// How long the end that a second signal asks for waits for the log.
const LAST_LINES: Duration = Duration::from_millis(200);

/// The signals that stop the server: the first in order, the second at once.
pub(crate) struct StopSignals(oneshot::Receiver<&'static str>);

impl StopSignals {
    /// From here on the signals no longer end the process by themselves.
    ///
    /// A thread of its own waits for them, so that the second one ends the process whatever all other
    /// threads are doing.
    pub(crate) fn listen(log: &Log) -> Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT])?;
        let (sender, receiver) = oneshot::channel();
        let log = log.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut signals = signals.forever();
                if let Some(signal) = signals.next() {
                    // Nothing has to be stopped in order if the receiver is gone.
                    let _ = sender.send(name(signal));
                }
                if let Some(signal) = signals.next() {
                    tracing::warn!("{} again: requests in progress are cut off", name(signal));
                    log.flush(LAST_LINES);
                    low_level::exit(1);
                }
            })
            .context("cannot start a thread that waits for signals")?;
        Ok(Self(receiver))
    }

    /// Waits for the first of them.
    pub(crate) async fn first(self) -> &'static str {
        match self.0.await {
            Ok(name) => name,
            // The thread waits for as long as the process lives.
            Err(_) => std::future::pending().await,
        }
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        _ => "SIGQUIT",
    }
}

/// Lets `drain` finish, unless it takes too long.
pub(crate) async fn drain(limit: Duration, drain: impl Future<Output = ()>) -> ExitCode {
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
    }
}

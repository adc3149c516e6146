//! Notifications of systemd, or of another service manager with its protocol (sd_notify(3)), if one asks for them
//! (`NOTIFY_SOCKET`).

use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use control::Health;
use sd_notify::NotifyState;

use crate::workers::Workers;

/// How much longer than its limits a shutdown may take, for work that blocks.
const STOP_RESERVE: Duration = Duration::from_secs(10);

/// The shortest time between two pings of the watchdog.
const SHORTEST_PING: Duration = Duration::from_millis(100);

/// The most messages that wait until the service manager takes them: none but pings is left out before hundreds of
/// reloads have come meanwhile.
const QUEUE: usize = 1024;

/// How many messages wait.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The start, or a reload, is complete.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// A reload begins. [`ready`] has to follow.
pub(crate) fn reloading() {
    // By the time, the service manager tells this reload from earlier ones.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("cannot notify the service manager of a reload: {error}"),
    }
}

/// The server shuts down, which may take up to `limit`. Its unit's `TimeoutStopSec` is extended if it is shorter.
pub(crate) fn stopping(limit: Duration) {
    let limit = limit.saturating_add(STOP_RESERVE).as_micros();
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit)]);
}

/// Reports whether the server is ready, and pings the watchdog, if the service manager wants that (`WatchdogSec`),
/// until the process ends. A ping is left out while the server is not live, so that it is restarted then.
pub(crate) fn report(workers: &Workers) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    // Not a thread that serves clients, which may be stuck.
    let runtime = workers.control().handle();
    runtime.spawn(report_status(workers.health().clone()));
    if let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) {
        runtime.spawn(ping(workers.health().clone(), limit));
    }
}

async fn report_status(health: Health) {
    let mut changes = health.readiness_changes();
    // It would keep the sender alive.
    drop(health);
    while let Some(readiness) = changes.next().await {
        let status = match (readiness.reason(), readiness.is_ok()) {
            (None, _) => "ready".to_owned(),
            (Some(reason), true) => format!("ready, but {}", one_line(reason)),
            (Some(reason), false) => format!("not ready: {}", one_line(reason)),
        };
        notify(&[NotifyState::Status(&status)]);
    }
}

async fn ping(health: Health, limit: Duration) {
    // sd_watchdog_enabled(3) recommends half of it; the wait for the threads needs some time, too.
    let mut interval = tokio::time::interval((limit / 3).max(SHORTEST_PING));
    loop {
        interval.tick().await;
        let live = health.live().await;
        match live.reason() {
            // The service manager counts from the last one that it has taken.
            None if WAITING.load(Ordering::Relaxed) > 0 => {}
            None => notify(&[NotifyState::Watchdog]),
            Some(reason) => tracing::error!("{reason}; not pinging the service manager's watchdog"),
        }
    }
}

/// Each message is a line of the protocol, so that a name in a reason cannot add another.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Sends states in one message, in the order of the calls. Does not wait: the queue of the service manager's socket may
/// be full, since it is shared with all other services, and with it sending blocks.
fn notify(states: &[NotifyState<'_>]) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let message: Vec<_> = states.iter().map(ToString::to_string).collect();
    let sent = match &*SENDER {
        Ok(sender) => {
            WAITING.fetch_add(1, Ordering::Relaxed);
            let sent = sender.try_send(message.join("\n")).is_ok();
            if !sent {
                WAITING.fetch_sub(1, Ordering::Relaxed);
            }
            sent
        }
        Err(error) => {
            tracing::warn!("cannot notify the service manager: no thread for it: {error}");
            return;
        }
    };
    if !sent {
        tracing::warn!(
            "cannot notify the service manager (NOTIFY_SOCKET): it takes no messages; leaving out {message:?}"
        );
    }
}

/// A thread of its own for sending.
static SENDER: LazyLock<io::Result<SyncSender<String>>> = LazyLock::new(|| {
    let (sender, messages) = sync_channel::<String>(QUEUE);
    let send = move || {
        let mut was_sent = true;
        for message in messages {
            let sent = sd_notify::notify(&[NotifyState::Custom(&message)]);
            // Once, not for each ping of the watchdog.
            if let (Err(error), true) = (&sent, was_sent) {
                tracing::warn!("cannot notify the service manager (NOTIFY_SOCKET): {error}");
            }
            was_sent = sent.is_ok();
            WAITING.fetch_sub(1, Ordering::Relaxed);
        }
    };
    // Ends with the process: it may be waiting for the service manager then.
    let thread = thread::Builder::new().name("notify".to_owned());
    thread.spawn(send).map(|_| sender)
});

//! Notifies the task of an HTTP/2 connection that it has become idle.

use std::sync::OnceLock;

use tokio::sync::Notify;

/// Notifies the task of an HTTP/2 connection when the last of its requests in progress has ended.
#[derive(Default)]
pub(crate) struct IdleNotice(OnceLock<Notify>);

impl IdleNotice {
    pub(crate) fn send(&self) {
        // HTTP/1 has no subscriber.
        if let Some(subscriber) = self.0.get() {
            subscriber.notify_one();
        }
    }

    /// What is notified, for the one task that waits for it.
    pub(crate) fn subscribe(&self) -> &Notify {
        self.0.get_or_init(Notify::new)
    }
}

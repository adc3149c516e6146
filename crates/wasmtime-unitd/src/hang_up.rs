//! SIGHUP: what has changed in the configuration's files and in components is loaded again.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::service_manager;

/// Asks for one reload; dropped once that is done.
pub(crate) type ReloadRequest = oneshot::Sender<()>;

/// Where the requests arrive, for the tasks that reload: one after the other, in this order.
pub(crate) struct ReloadRequests {
    pub(crate) files: mpsc::Receiver<ReloadRequest>,
    pub(crate) components: mpsc::Receiver<ReloadRequest>,
}

/// From now on, the signal does not end the process, but asks for a reload.
pub(crate) fn listen() -> Result<ReloadRequests> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let (ask_files, files) = mpsc::channel(1);
    let (ask_components, components) = mpsc::channel(1);
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            service_manager::reloading();
            tracing::info!(
                "SIGHUP: loading what has changed in the configuration's files and components"
            );
            for asked in [&ask_files, &ask_components] {
                let (request, done) = oneshot::channel();
                // Fails if there are no files, or the server is shutting down.
                if asked.send(request).await.is_ok() {
                    let _ = done.await;
                }
            }
            service_manager::ready();
        }
    });
    Ok(ReloadRequests { files, components })
}

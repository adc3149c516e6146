//! Loads components again whose files have changed: for applications with `"reload": true` and for `serve --watch` by
//! itself, and for all at SIGHUP.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use config_files::Stamp;
use control::{BlockingThreads, RestartError};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::hang_up::ReloadRequest;
use crate::runtime::{Reloadable, Runtime};
use crate::settled::{LOOK_EVERY, Settled};

/// Looking at files takes at most this part of one core's time: with thousands of files it happens less often.
const SHARE: u32 = 20;

/// The longest pause, also if a file system was slow.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Watches the components' files, and calls `reload` with the name of each application whose component has changed.
/// When
/// a reload is asked for, that is each application, else those that are to be reloaded. Never returns.
///
/// If a component cannot be loaded, the one before it keeps serving, and the file is tried again when it changes, or
/// when a reload is asked for.
pub(crate) async fn watch(
    runtime: Runtime,
    threads: BlockingThreads,
    mut requests: mpsc::Receiver<ReloadRequest>,
    reload: impl AsyncFn(String) -> Result<(), RestartError>,
) {
    // By application, whose component is the same file as long as its configuration is.
    let mut known: HashMap<String, (Stamp, Settled<Stamp>)> = HashMap::new();
    let mut pause = LOOK_EVERY;
    loop {
        let asked: Option<ReloadRequest> = tokio::select! {
            () = sleep(pause) => None,
            Some(request) = requests.recv() => Some(request),
        };
        let is_asked = asked.is_some();
        let reloadable = runtime.reloadable(is_asked);
        if reloadable.is_empty() {
            known.clear();
            continue;
        }
        // A panic is logged by the panic hook.
        let Ok((found, took)) = threads.spawn(move || look(reloadable)).await else {
            continue;
        };
        pause = (took * SHARE).clamp(LOOK_EVERY, MAX_PAUSE);
        let mut next = HashMap::with_capacity(found.len());
        for (one, stamp) in found {
            // What a change of the configuration or a restart has loaded since then counts as taken up.
            let before = known.remove(&one.application);
            let before = before.filter(|(loaded, _)| *loaded == one.loaded);
            let (_, mut settled) = before.unwrap_or_else(|| (one.loaded, Settled::new(one.loaded)));
            if settled.look(stamp) || (is_asked && stamp != one.loaded) {
                settled.take(stamp);
                load(&one, &reload).await;
            }
            next.insert(one.application, (one.loaded, settled));
        }
        known = next;
        // Dropped, since it is done.
        drop(asked);
    }
}

fn look(reloadable: Vec<Reloadable>) -> (Vec<(Reloadable, Stamp)>, Duration) {
    let begun = Instant::now();
    let looked = reloadable.into_iter().map(|one| {
        let stamp = Stamp::of(&one.component);
        (one, stamp)
    });
    (looked.collect(), begun.elapsed())
}

async fn load(one: &Reloadable, reload: &impl AsyncFn(String) -> Result<(), RestartError>) {
    let name = one.application.as_str();
    if let Err(error) = reload(name.to_owned()).await {
        tracing::error!(
            application = name,
            "cannot load the changed component: {error}; the one before it stays in use"
        );
    }
}

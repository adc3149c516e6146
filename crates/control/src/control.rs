//! The configuration in force, and the steps of a change: edit, check, prepare, persist, commit. HTTP is not known
//! here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{Checked, Config, ConfigError, Object, Value};
use parking_lot::RwLock;
use thiserror::Error;
use tokio::sync::watch;

use crate::answer::{Failure, Outcome, Success};
use crate::line::{Arrival, Busy, Line, Turn};
use crate::quota::Quotas;
use crate::report::report;
use crate::{
    BlockingThreads, Limits, LoadError, Origin, PrepareError, Runtime, Saved, StateDir, StateError,
    Status,
};

/// The control API of one server. Clones are handles to the same one.
#[derive(Debug)]
pub struct Control<R> {
    shared: Arc<Shared<R>>,
}

#[derive(Debug)]
pub(crate) struct Shared<R> {
    pub(crate) runtime: R,
    pub(crate) state: StateDir,
    pub(crate) threads: BlockingThreads,
    limits: Limits,
    quotas: Quotas,
    /// Locked only while the pointer is copied or replaced, never across an `await`.
    current: RwLock<Arc<Value>>,
    /// Serializes changes and restarts.
    line: Line,
    /// Every change has a receiver, so `closed` waits for all of them.
    changes: watch::Sender<()>,
    /// True once further changes are refused.
    stopping: watch::Sender<bool>,
}

/// What [`Control::restore`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Nothing was persisted: the configuration is empty.
    Nothing,
    /// The persisted configuration is in force.
    Configuration {
        /// Warnings about its parts, such as options without effect.
        warnings: Vec<String>,
    },
}

/// A persisted configuration that cannot be restored. The configuration in force is
/// empty, and the file is unchanged.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The file cannot be read, or is not JSON.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The file is JSON, but not a valid configuration.
    #[error("\"{}\": {error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ConfigError,
    },
    /// The runtime refused it.
    #[error("\"{}\": {error}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: PrepareError,
    },
}

impl<R: Runtime> Control<R> {
    /// A control API with an empty configuration. The persisted one is not read before
    /// [`restore`](Self::restore), nor written before a change. Blocking work is done on `threads`.
    #[must_use]
    pub fn new(runtime: R, state: StateDir, threads: BlockingThreads) -> Self {
        Self::with_limits(runtime, state, threads, Limits::default())
    }

    /// Like [`new`](Self::new), with other limits on clients.
    #[must_use]
    pub fn with_limits(
        runtime: R,
        state: StateDir,
        threads: BlockingThreads,
        limits: Limits,
    ) -> Self {
        let shared = Shared {
            runtime,
            state,
            threads,
            limits,
            quotas: Quotas::new(&limits),
            current: RwLock::new(Arc::new(empty())),
            line: Line::default(),
            changes: watch::Sender::new(()),
            stopping: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Puts the persisted configuration in force.
    ///
    /// # Errors
    ///
    /// The configuration in force is unchanged then. [`set_aside`](Self::set_aside) keeps
    /// the next change from overwriting the file.
    pub async fn restore(&self) -> Result<Restored, RestoreError> {
        let _turn = self.turn().await;
        let path = self.shared.state.configuration();
        let shared = Arc::clone(&self.shared);
        let load = move || {
            let tree = shared.state.load()?;
            Ok::<_, LoadError>(tree.map(|tree| (Config::check(&tree), tree)))
        };
        let Some((checked, tree)) = self.threads().run(load).await? else {
            return Ok(Restored::Nothing);
        };
        let Checked { config, warnings } = match checked {
            Ok(checked) => checked,
            Err(error) => return Err(RestoreError::Invalid { path, error }),
        };
        let runtime = &self.shared.runtime;
        let prepared = match runtime.prepare(&config).await {
            Ok(prepared) => prepared,
            Err(error) => return Err(RestoreError::Prepare { path, error }),
        };
        let of_runtime = runtime.warnings(&prepared);
        let warnings = warnings.iter().chain(&of_runtime);
        let warnings = warnings.map(ToString::to_string).collect();
        runtime.commit(prepared);
        self.shared.set_current(tree);
        Ok(Restored::Configuration { warnings })
    }

    /// Renames the persisted configuration, see [`StateDir::set_aside`].
    ///
    /// # Errors
    ///
    /// If it cannot be moved.
    pub async fn set_aside(&self) -> Result<Option<PathBuf>, StateError> {
        let _turn = self.turn().await;
        let shared = Arc::clone(&self.shared);
        self.threads().run(move || shared.state.set_aside()).await
    }

    /// Refuses further changes and restarts with 503, including those whose bodies are still being received. Waits for
    /// the ones that are in progress.
    ///
    /// For a graceful shutdown, since a change could make the server listen again.
    pub async fn finish_changes(&self) {
        self.shared.stopping.send_replace(true);
        self.settled().await;
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Value> {
        self.shared.current()
    }

    /// The server that is configured.
    #[must_use]
    pub fn runtime(&self) -> &R {
        &self.shared.runtime
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<R>> {
        &self.shared
    }

    pub(crate) fn state(&self) -> &StateDir {
        &self.shared.state
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn threads(&self) -> &BlockingThreads {
        &self.shared.threads
    }

    /// Registers a connection that may ask for a change.
    pub(crate) fn arrive(&self, origin: Origin) -> Arrival {
        self.shared.line.arrive(origin)
    }

    /// Waits for the turn of an operator's change, which is never refused.
    async fn turn(&self) -> Result<Turn, Busy> {
        self.arrive(Origin::Operator).turn(Duration::ZERO).await
    }

    pub(crate) fn quotas(&self) -> &Quotas {
        &self.shared.quotas
    }

    pub(crate) fn status(&self) -> Status {
        self.shared.runtime.status()
    }

    /// Changes the configuration by `edit`, in a task of its own, so that a client that disconnects does not interrupt
    /// the change. `edit` may take long. It is called on this change's turn, so that there is never more than one new
    /// tree in memory.
    pub(crate) async fn change(
        &self,
        arrival: Arrival,
        edit: impl FnOnce(&Value) -> Result<Value, Failure> + Send + 'static,
    ) -> Outcome {
        let (shared, origin) = (Arc::clone(&self.shared), arrival.origin());
        self.in_line(arrival, async move { shared.change(origin, edit).await })
            .await
    }

    /// Restarts an application, serialized with the changes.
    pub(crate) async fn restart(&self, arrival: Arrival, application: String) -> Outcome {
        let shared = Arc::clone(&self.shared);
        self.in_line(arrival, async move { shared.restart(&application).await })
            .await
    }

    /// Runs `job` on its turn: one at a time, in the order of arrivals.
    pub(crate) async fn in_line(
        &self,
        arrival: Arrival,
        job: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        // In this order: `finish_changes` sets `stopping` before it looks at the count.
        let counted = self.shared.changes.subscribe();
        if *self.shared.stopping.borrow() {
            return Err(Failure::Stopping);
        }
        let (origin, wait) = (arrival.origin(), self.limits().proxied_turn_wait);
        let task = tokio::spawn(async move {
            let _counted = counted;
            match arrival.turn(wait).await {
                Ok(_turn) => job.await,
                Err(Busy) => Err(Failure::TooManyChanges),
            }
        });
        task.await.unwrap_or_else(|error| {
            report!(error, origin, %error, "a change of the configuration panicked");
            Err(Failure::Panic)
        })
    }

    /// Becomes true once further changes are refused.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.shared.stopping.subscribe()
    }

    /// Waits until no change is in progress, including those whose clients have disconnected.
    pub(crate) async fn settled(&self) {
        self.shared.changes.closed().await;
    }
}

impl<R> Clone for Control<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<R> Shared<R> {
    pub(crate) fn current(&self) -> Arc<Value> {
        Arc::clone(&self.current.read())
    }

    fn set_current(&self, tree: Value) {
        *self.current.write() = Arc::new(tree);
    }
}

impl<R: Runtime> Shared<R> {
    async fn change(
        self: Arc<Self>,
        origin: Origin,
        edit: impl FnOnce(&Value) -> Result<Value, Failure> + Send + 'static,
    ) -> Outcome {
        let current = self.current();
        let certificates = self.state.certificates().snapshot();
        let check = move || {
            let tree = edit(&current)?;
            let checked = Config::check(&tree)?;
            // A certificate that the current configuration names, too, may have been damaged at the start. It must
            // not refuse other changes.
            let missing = config::missing_certificate(&tree, |name| {
                certificates.get(name).is_some() || config::uses_certificate(&current, name)
            });
            missing.map_or(Ok((tree, checked)), |error| Err(Failure::Config(error)))
        };
        let (tree, Checked { config, warnings }) = self.threads.run(check).await?;
        let mut warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();

        let prepared = self.runtime.prepare(&config).await?;
        let of_runtime = self.runtime.warnings(&prepared);
        warnings.extend(of_runtime.iter().map(ToString::to_string));
        let shared = Arc::clone(&self);
        let save = move || {
            let saved = shared.state.save(&tree);
            (tree, saved)
        };
        let (tree, saved) = self.threads.run(save).await;
        if let Saved::NotSynced(error) = saved? {
            warnings.push(format!(
                "the configuration may not survive a power failure: {error}"
            ));
        }
        self.runtime.commit(prepared);
        self.set_current(tree);
        for warning in &warnings {
            report!(warn, origin, "{warning}");
        }
        report!(
            info,
            origin,
            listeners = config.listeners.len(),
            applications = config.applications.len(),
            "reconfiguration done"
        );
        Ok(Success::Changed { warnings })
    }

    async fn restart(self: Arc<Self>, application: &str) -> Outcome {
        let current = self.current();
        let applications = current.child("applications").and_then(Value::as_object);
        if applications.is_none_or(|applications| applications.get(application).is_none()) {
            return Err(Failure::NotFound);
        }
        self.runtime.restart(application).await?;
        Ok(Success::Restarted)
    }
}

/// What Unit has before its first configuration.
fn empty() -> Value {
    [
        ("listeners", Object::default().into()),
        ("routes", Value::Array(Vec::new())),
        ("applications", Object::default().into()),
    ]
    .into_iter()
    .collect()
}

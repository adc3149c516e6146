//! The configuration in force, and how it changes.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use config::{Checked, Config, ConfigError, Object, Value};
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
    /// Locked for as long as a pointer takes to copy, never over a wait.
    current: RwLock<Arc<Value>>,
    /// Of changes and restarts, one of which goes on at a time.
    line: Line,
    /// Every change has a receiver, so `closed` waits for all of them.
    changes: watch::Sender<()>,
    /// True once no further change is taken.
    stopping: watch::Sender<bool>,
}

/// What [`Control::restore`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Nothing was persisted: the configuration is empty.
    Nothing,
    /// The persisted configuration is in force.
    Configuration {
        /// What of it has no effect.
        warnings: Vec<String>,
    },
}

/// A persisted configuration that cannot be put in force. The configuration is
/// empty, and the file is where it was.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The file cannot be read, or is not JSON.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The file is JSON, and no configuration.
    #[error("\"{}\": {error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ConfigError,
    },
    /// The configuration cannot be served.
    #[error("\"{}\": {error}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: PrepareError,
    },
}

impl<R: Runtime> Control<R> {
    /// A control API with an empty configuration: what is persisted is neither
    /// read nor touched before [`restore`](Self::restore) or a change. What blocks is done on `threads`.
    #[must_use]
    pub fn new(runtime: R, state: StateDir, threads: BlockingThreads) -> Self {
        Self::with_limits(runtime, state, threads, Limits::default())
    }

    /// The same with other limits on clients.
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

    /// Puts what is persisted in force.
    ///
    /// # Errors
    ///
    /// The configuration stays as it was. [`set_aside`](Self::set_aside) saves
    /// the file from being overwritten by the next change.
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

    /// Moves the persisted configuration out of the way, see
    /// [`StateDir::set_aside`].
    ///
    /// # Errors
    ///
    /// If it cannot be moved.
    pub async fn set_aside(&self) -> Result<Option<PathBuf>, StateError> {
        let _turn = self.turn().await;
        let shared = Arc::clone(&self.shared);
        self.threads().run(move || shared.state.set_aside()).await
    }

    /// Takes no further changes and restarts: from now on they are answered with 503, those included whose bodies are
    /// still to come. Waits until those are done that had come as a whole.
    ///
    /// For the end of the server: a change might have it listen again.
    pub async fn finish_changes(&self) {
        self.shared.stopping.send_replace(true);
        self.settled().await;
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Value> {
        self.shared.current()
    }

    /// What is driven.
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

    /// Takes note of a connection that may ask for a change.
    pub(crate) fn arrive(&self, origin: Origin) -> Arrival {
        self.shared.line.arrive(origin)
    }

    /// Waits for a turn among the changes of operators, to whom it is never refused.
    async fn turn(&self) -> Result<Turn, Busy> {
        self.arrive(Origin::Operator).turn(Duration::ZERO).await
    }

    pub(crate) fn quotas(&self) -> &Quotas {
        &self.shared.quotas
    }

    pub(crate) fn status(&self) -> Status {
        self.shared.runtime.status()
    }

    /// Changes the configuration by `edit`, in a task of its own: a client that
    /// goes away does not leave a change half done. `edit` may take long; it is called when it is this
    /// change's turn, so that there is one tree at a time beside the one in force.
    pub(crate) async fn change(
        &self,
        arrival: Arrival,
        edit: impl FnOnce(&Value) -> Result<Value, Failure> + Send + 'static,
    ) -> Outcome {
        let (shared, origin) = (Arc::clone(&self.shared), arrival.origin());
        self.in_line(arrival, async move { shared.change(origin, edit).await })
            .await
    }

    /// Restarts an application, in line with the changes.
    pub(crate) async fn restart(&self, arrival: Arrival, application: String) -> Outcome {
        let shared = Arc::clone(&self.shared);
        self.in_line(arrival, async move { shared.restart(&application).await })
            .await
    }

    /// Does the job when no other goes on, in the order of arrivals.
    pub(crate) async fn in_line(
        &self,
        arrival: Arrival,
        job: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        // Counted before this is looked at: `finish_changes` sets it before it looks at the number.
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
            report!(error, origin, %error, "a change of the configuration did not end");
            Err(Failure::Panic)
        })
    }

    /// Becomes true once no further change is taken.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.shared.stopping.subscribe()
    }

    /// Waits until no change goes on, those included whose clients have left.
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
        // A pointer is never half written, so a poisoned lock guards a good one.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_current(&self, tree: Value) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tree);
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
            // One that is named already and was damaged at the start does not stand in the way of
            // other changes.
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
                "the configuration may not survive a loss of power: {error}"
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

/// What Unit shows before its first configuration.
fn empty() -> Value {
    [
        ("listeners", Object::default().into()),
        ("routes", Value::Array(Vec::new())),
        ("applications", Object::default().into()),
    ]
    .into_iter()
    .collect()
}

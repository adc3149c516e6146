//! The configuration in force, and how it changes.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use config::{Checked, Config, ConfigError, Object, Value};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::answer::{Failure, Outcome, Success};
use crate::line::{Arrival, Line};
use crate::quota::Quotas;
use crate::{
    Limits, LoadError, Origin, PrepareError, Runtime, Saved, StateDir, StateError, Status,
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
    limits: Limits,
    quotas: Quotas,
    /// Locked for as long as a pointer takes to copy, never over a wait.
    current: RwLock<Arc<Value>>,
    /// Of changes and restarts, one of which goes on at a time.
    line: Line,
    /// Every change has a receiver, so `closed` waits for all of them.
    changes: watch::Sender<()>,
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
    /// read nor touched before [`restore`](Self::restore) or a change.
    #[must_use]
    pub fn new(runtime: R, state: StateDir) -> Self {
        Self::with_limits(runtime, state, Limits::default())
    }

    /// The same with other limits on clients.
    #[must_use]
    pub fn with_limits(runtime: R, state: StateDir, limits: Limits) -> Self {
        let shared = Shared {
            runtime,
            state,
            limits,
            quotas: Quotas::new(&limits),
            current: RwLock::new(Arc::new(empty())),
            line: Line::default(),
            changes: watch::Sender::new(()),
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
        let _turn = self.shared.line.join().await;
        let path = self.shared.state.configuration();
        let shared = Arc::clone(&self.shared);
        let Some(tree) = blocking(move || shared.state.load()).await? else {
            return Ok(Restored::Nothing);
        };
        let Checked { config, warnings } = match Config::check(&tree) {
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
        let _turn = self.shared.line.join().await;
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.state.set_aside()).await
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

    /// Takes note of a connection that may ask for a change. Operators do not wait for strangers.
    pub(crate) fn arrive(&self, origin: Origin) -> Arrival {
        match origin {
            Origin::Operator => self.shared.line.arrive(),
            Origin::Proxied => self.shared.line.arrive_unnoticed(),
        }
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
        let shared = Arc::clone(&self.shared);
        self.in_line(arrival, async move { shared.change(edit).await })
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
        let counted = self.shared.changes.subscribe();
        let task = tokio::spawn(async move {
            let _counted = counted;
            let _turn = arrival.turn().await;
            job.await
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a change of the configuration did not end");
            Err(Failure::Panic)
        })
    }

    /// Waits until no change goes on, whoever asked for it.
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
        edit: impl FnOnce(&Value) -> Result<Value, Failure> + Send + 'static,
    ) -> Outcome {
        let current = self.current();
        let certificates = self.state.certificates().snapshot();
        let (tree, Checked { config, warnings }) = blocking(move || {
            let tree = edit(&current)?;
            let checked = Config::check(&tree)?;
            // One that is named already and was damaged at the start does not stand in the way of
            // other changes.
            let missing = config::missing_certificate(&tree, |name| {
                certificates.get(name).is_some() || config::uses_certificate(&current, name)
            });
            missing.map_or(Ok((tree, checked)), |error| Err(Failure::Config(error)))
        })
        .await?;
        let mut warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();

        let prepared = self.runtime.prepare(&config).await?;
        let of_runtime = self.runtime.warnings(&prepared);
        warnings.extend(of_runtime.iter().map(ToString::to_string));
        let shared = Arc::clone(&self);
        let (tree, saved) = blocking(move || {
            let saved = shared.state.save(&tree);
            (tree, saved)
        })
        .await;
        if let Saved::NotSynced(error) = saved? {
            warnings.push(format!(
                "the configuration may not survive a loss of power: {error}"
            ));
        }
        self.runtime.commit(prepared);
        self.set_current(tree);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        tracing::info!(
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

/// Runs what blocks, or computes for long, off the async threads. A panic in it
/// goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down and will not poll this task again.
            Err(_) => std::future::pending().await,
        },
    }
}

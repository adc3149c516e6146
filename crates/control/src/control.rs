//! The configuration in force, and the steps of a change: edit, check, prepare, persist, commit. HTTP is not known
//! here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certificates::{Certificates, CurrentCertificates, Store};
use config::{ConfigError, Path, SubstitutionError, Value};
use parking_lot::RwLock;
use thiserror::Error;
use tokio::sync::watch;

use crate::answer::{Failure, Outcome, Success};
use crate::candidate::{Candidate, CheckError, Current};
use crate::line::{Arrival, Busy, Line, Turn};
use crate::quota::Quotas;
use crate::report::report;
use crate::source::SourceKind;
use crate::{
    BlockingThreads, Limits, LoadError, Origin, PrepareError, RestartError, Runtime, Saved, Source,
    StateDir, StateError, Status,
};

/// The control API of one server. Clones are handles to the same one.
#[derive(Debug)]
pub struct Control<R> {
    shared: Arc<Shared<R>>,
}

#[derive(Debug)]
pub(crate) struct Shared<R> {
    pub(crate) runtime: R,
    pub(crate) source: Source,
    pub(crate) threads: BlockingThreads,
    limits: Limits,
    quotas: Quotas,
    /// Locked only while the pointer is copied or replaced, never across an `await`.
    current: RwLock<Current>,
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
    /// The value of an expression is missing. The file is not at fault.
    #[error("\"{}\": {error}", path.display())]
    Substitution {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: SubstitutionError,
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

/// A configuration from files that cannot be put in force. What was in force before still is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail}")]
pub struct ApplyError {
    /// The path of the value at fault, if it is known.
    pub path: Option<Path>,
    /// What is wrong, without any value of an expression.
    pub detail: String,
}

impl<R: Runtime> Control<R> {
    /// A control API with an empty configuration. The persisted one is not read before
    /// [`restore`](Self::restore), nor written before a change. Blocking work is done on `threads`.
    #[must_use]
    pub fn new(runtime: R, source: impl Into<Source>, threads: BlockingThreads) -> Self {
        Self::with_limits(runtime, source, threads, Limits::default())
    }

    /// Like [`new`](Self::new), with other limits on clients.
    #[must_use]
    pub fn with_limits(
        runtime: R,
        source: impl Into<Source>,
        threads: BlockingThreads,
        limits: Limits,
    ) -> Self {
        let shared = Shared {
            runtime,
            source: source.into(),
            threads,
            limits,
            quotas: Quotas::new(&limits),
            current: RwLock::new(Current::empty()),
            line: Line::default(),
            changes: watch::Sender::new(()),
            stopping: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Puts the persisted configuration in force. From [files](Source::files), nothing is restored.
    ///
    /// # Errors
    ///
    /// The configuration in force is unchanged then. [`set_aside`](Self::set_aside) keeps
    /// the next change from overwriting the file.
    pub async fn restore(&self) -> Result<Restored, RestoreError> {
        let _turn = self.turn().await;
        let Some(directory) = self.source().directory() else {
            return Ok(Restored::Nothing);
        };
        let path = directory.configuration();
        let shared = Arc::clone(&self.shared);
        let load = {
            let path = path.clone();
            move || {
                let directory = shared.source.directory();
                let Some(tree) = directory.map_or(Ok(None), StateDir::load)? else {
                    return Ok(None);
                };
                match Candidate::check(tree, shared.source.substitution, |_| None) {
                    Ok(candidate) => Ok(Some(candidate)),
                    Err(CheckError::Substitution(error)) => {
                        Err(RestoreError::Substitution { path, error })
                    }
                    Err(CheckError::Invalid(error)) => Err(RestoreError::Invalid { path, error }),
                }
            }
        };
        let Some(candidate) = self.threads().run(load).await? else {
            return Ok(Restored::Nothing);
        };
        let Candidate {
            current,
            config,
            mut warnings,
        } = candidate;
        let runtime = &self.shared.runtime;
        let prepared = match runtime.prepare(&config).await {
            Ok(prepared) => prepared,
            Err(error) => {
                let error = current.resolved.conceal_unusable(error);
                return Err(RestoreError::Prepare { path, error });
            }
        };
        warnings.extend(current.warnings(&runtime.warnings(&prepared)));
        runtime.commit(prepared);
        self.shared.set_current(current);
        Ok(Restored::Configuration { warnings })
    }

    /// Puts a configuration from files in force, with its certificates, all or nothing. Waits for changes in progress.
    /// Returns warnings about its parts.
    ///
    /// # Errors
    ///
    /// If it is invalid, or the runtime refuses it, or the server is shutting down. Nothing has changed then.
    pub async fn apply(
        &self,
        tree: Value,
        certificates: Certificates,
    ) -> Result<Vec<String>, ApplyError> {
        let shared = Arc::clone(&self.shared);
        let job = async move { shared.apply(tree, certificates).await };
        applied(self.in_line(self.arrive(Origin::Operator), job).await)
    }

    /// Replaces the configuration and persists it, as a client that puts it at `/config`. Returns warnings about its
    /// parts, which are logged, too.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply), and if it cannot be persisted.
    pub async fn replace(&self, tree: Value) -> Result<Vec<String>, ApplyError> {
        applied(
            self.change(self.arrive(Origin::Operator), move |_| Ok(tree))
                .await,
        )
    }

    /// Renames the persisted configuration, see [`StateDir::set_aside`].
    ///
    /// # Errors
    ///
    /// If it cannot be moved.
    pub async fn set_aside(&self) -> Result<Option<PathBuf>, StateError> {
        let _turn = self.turn().await;
        let shared = Arc::clone(&self.shared);
        let set_aside = move || {
            let directory = shared.source.directory();
            directory.map_or(Ok(None), StateDir::set_aside)
        };
        self.threads().run(set_aside).await
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
        self.shared.current().tree
    }

    /// The server that is configured.
    #[must_use]
    pub fn runtime(&self) -> &R {
        &self.shared.runtime
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<R>> {
        &self.shared
    }

    pub(crate) fn source(&self) -> &Source {
        &self.shared.source
    }

    /// Refuses a change by a client of the API if it comes from files.
    pub(crate) fn require_changeable(&self) -> Result<(), Failure> {
        self.shared.store().map(|_| ())
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

    /// Loads the component of an application again, serialized with the changes. One that is not configured any more is
    /// left alone.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded, or the server is shutting down. The one that was loaded before stays in use.
    pub async fn reload(&self, application: String) -> Result<(), RestartError> {
        let outcome = self
            .restart(self.arrive(Origin::Operator), application)
            .await;
        match outcome {
            Ok(_) | Err(Failure::NotFound) => Ok(()),
            Err(Failure::Restart(error)) => Err(error),
            Err(failure) => Err(RestartError {
                detail: failure.to_string(),
            }),
        }
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
    pub(crate) fn current(&self) -> Current {
        self.current.read().clone()
    }

    fn set_current(&self, current: Current) {
        *self.current.write() = current;
    }

    /// The store of certificates that clients of the API change.
    pub(crate) fn store(&self) -> Result<&Arc<Store>, Failure> {
        self.source.store().map_err(|path| Failure::FromFiles {
            path: path.to_owned(),
        })
    }
}

impl<R: Runtime> Shared<R> {
    async fn change(
        self: Arc<Self>,
        origin: Origin,
        edit: impl FnOnce(&Value) -> Result<Value, Failure> + Send + 'static,
    ) -> Outcome {
        let current = self.current();
        let shared = Arc::clone(&self);
        let check = move || shared.check(edit(&current.tree)?, &current);
        let Candidate {
            current,
            config,
            mut warnings,
        } = self.threads.run(check).await?;

        let prepared = self.runtime.prepare(&config).await;
        let prepared = prepared.map_err(|error| current.resolved.conceal_unusable(error))?;
        warnings.extend(current.warnings(&self.runtime.warnings(&prepared)));
        if let SourceKind::State(_) = self.source.kind {
            let (shared, tree) = (Arc::clone(&self), Arc::clone(&current.tree));
            let save = move || shared.source.directory().map(|it| it.save(&tree));
            let saved = self.threads.run(save).await.transpose()?;
            if let Some(Saved::NotSynced(error)) = saved {
                warnings.push(format!(
                    "the configuration may not survive a power failure: {error}"
                ));
            }
        }
        self.runtime.commit(prepared);
        self.set_current(current);
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

    /// Checks a tree that may replace `current`.
    fn check(&self, tree: Value, current: &Current) -> Result<Candidate, Failure> {
        let certificates = self.source.certificates.snapshot();
        // A certificate that the current configuration names, too, may have been damaged at the start. It must not
        // refuse other changes. Those of files come with the tree.
        let is_lenient = self.source.directory().is_some();
        let candidate = Candidate::check(tree, self.source.substitution, |tree| {
            config::missing_certificate(tree, |name| {
                certificates.get(name).is_some()
                    || (is_lenient && config::uses_certificate(&current.resolved.tree, name))
            })
        });
        candidate.map_err(Failure::from)
    }

    async fn apply(self: Arc<Self>, tree: Value, certificates: Certificates) -> Outcome {
        // `prepare` and `commit` read them.
        let kept = Replacement::put(&self.source.certificates, certificates);
        let change = Arc::clone(&self).change(Origin::Operator, move |_| Ok(tree));
        let changed = change.await?;
        kept.keep();
        Ok(changed)
    }

    async fn restart(self: Arc<Self>, application: &str) -> Outcome {
        let current = self.current();
        let applications = current
            .tree
            .child("applications")
            .and_then(Value::as_object);
        if applications.is_none_or(|applications| applications.get(application).is_none()) {
            return Err(Failure::NotFound);
        }
        let restarted = self.runtime.restart(application).await;
        restarted.map_err(|error| current.resolved.conceal_restart(application, &error))?;
        Ok(Success::Restarted)
    }
}

/// Certificates that take the place of others, unless the change fails for which they do.
struct Replacement<'a> {
    current: &'a CurrentCertificates,
    old: Option<Arc<Certificates>>,
}

impl<'a> Replacement<'a> {
    fn put(current: &'a CurrentCertificates, new: Certificates) -> Self {
        let old = Some(current.snapshot());
        current.set(Arc::new(new));
        Self { current, old }
    }

    fn keep(mut self) {
        self.old = None;
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if let Some(old) = self.old.take() {
            self.current.set(old);
        }
    }
}

fn applied(outcome: Outcome) -> Result<Vec<String>, ApplyError> {
    match outcome? {
        Success::Changed { warnings } => Ok(warnings),
        _ => Ok(Vec::new()),
    }
}

impl From<Failure> for ApplyError {
    fn from(failure: Failure) -> Self {
        let (path, detail) = match failure {
            Failure::Config(error) => {
                let hint = error
                    .suggestion
                    .map_or_else(String::new, |name| format!(" Did you mean \"{name}\"?"));
                (Some(error.place()), format!("{}{hint}", error.detail))
            }
            Failure::Substitution(error) => (Some(error.path), error.detail),
            Failure::Prepare(error) => (error.path, error.detail),
            failure => (None, failure.to_string()),
        };
        Self { path, detail }
    }
}

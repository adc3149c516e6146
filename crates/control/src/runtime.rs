//! The trait of what the control API drives, and its errors.

use config::{Config, Path, Warning};
use thiserror::Error;

use crate::{Health, Status};

/// The server that is configured.
///
/// The calls come in this order: for each change one [`prepare`], and if that
/// and the persisting succeed one [`commit`] of what it returned, else a drop of
/// it. Changes and [`restart`]s never overlap each other; [`status`] may be
/// called at any time, from any thread.
///
/// [`prepare`]: Runtime::prepare
/// [`commit`]: Runtime::commit
/// [`restart`]: Runtime::restart
/// [`status`]: Runtime::status
pub trait Runtime: Send + Sync + 'static {
    /// A configuration ready to be served. Dropping it undoes the preparation.
    type Prepared: Send;

    /// Does everything that can fail (loads components, binds sockets) and changes nothing yet. The implementation
    /// should reuse what the current configuration has already, such as an equal application or a bound socket. The
    /// current configuration is prepared and committed again when one of its certificates was added or replaced.
    ///
    /// The future runs in a task of its own that no client can cancel.
    fn prepare(
        &self,
        config: &Config,
    ) -> impl Future<Output = Result<Self::Prepared, PrepareError>> + Send;

    /// Warnings about the configuration, for the client that asked for the change.
    fn warnings(&self, prepared: &Self::Prepared) -> Vec<Warning>;

    /// Puts it in force. Cannot fail, since the configuration is on disk already.
    fn commit(&self, prepared: Self::Prepared);

    /// The current counters.
    fn status(&self) -> Status;

    /// Whether it is live and ready. May be called at any time, as [`status`](Self::status) may.
    fn health(&self) -> &Health;

    /// Loads an application's component again. Requests in progress are not affected. Only called for applications of
    /// the current configuration. If it fails, the component that was loaded before stays in use.
    fn restart(&self, application: &str) -> impl Future<Output = Result<(), RestartError>> + Send;
}

/// A valid configuration that cannot be served on this machine.
///
/// The answer is Unit's for this: 500 "Failed to apply new configuration.", with
/// this detail and path in addition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail}")]
pub struct PrepareError {
    /// The path of the value at fault, as
    /// [`Application::component_path`] or [`Listener::path`] give it.
    ///
    /// [`Application::component_path`]: config::Application::component_path
    /// [`Listener::path`]: config::Listener::path
    pub path: Option<Path>,
    /// What is wrong, for the client to read.
    pub detail: String,
}

/// An application that could not be restarted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail}")]
pub struct RestartError {
    /// What is wrong, for the client to read.
    pub detail: String,
}

//! What the control API drives.

use config::{Config, Path, Warning};
use thiserror::Error;

use crate::Status;

/// The server that a configuration is for.
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

    /// Does everything that can fail (loads components, binds sockets) and
    /// changes nothing yet. What the present configuration has already, an equal
    /// application or a bound socket, is for the implementation to reuse. The
    /// present configuration is prepared and committed once more when one of its
    /// certificates has come or was replaced.
    ///
    /// The future runs in a task of its own that no client can cancel.
    fn prepare(
        &self,
        config: &Config,
    ) -> impl Future<Output = Result<Self::Prepared, PrepareError>> + Send;

    /// What of it should perhaps not be served, for the client that asked for it.
    fn warnings(&self, prepared: &Self::Prepared) -> Vec<Warning>;

    /// Swaps it in. This cannot fail: the configuration is on disk already.
    fn commit(&self, prepared: Self::Prepared);

    /// The counters of this moment.
    fn status(&self) -> Status;

    /// Loads an application's component anew and drops nothing in flight. It is
    /// called for applications of the present configuration only; if it fails,
    /// what was loaded before goes on serving.
    fn restart(&self, application: &str) -> impl Future<Output = Result<(), RestartError>> + Send;
}

/// A configuration that is right in itself and cannot be served on this machine.
///
/// The answer is Unit's for this: 500 "Failed to apply new configuration.", with
/// this detail and path in addition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail}")]
pub struct PrepareError {
    /// The value in the configuration that asks for it, as
    /// [`Application::component_path`] or [`Listener::path`] give it.
    ///
    /// [`Application::component_path`]: config::Application::component_path
    /// [`Listener::path`]: config::Listener::path
    pub path: Option<Path>,
    /// What is wrong, for the client to read.
    pub detail: String,
}

/// An application that could not be loaded anew.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail}")]
pub struct RestartError {
    /// What is wrong, for the client to read.
    pub detail: String,
}

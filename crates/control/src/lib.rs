//! The control API: configuration over HTTP, with Unit's paths, answers and messages.
//!
//! ```text
//! PUT /config/…  ──▶ parse ──▶ edit ──▶ check ──▶ prepare ──▶ persist ──▶ commit ──▶ 200
//!                      │400      │404     │400        │500        │500      (cannot fail)
//!                      └─────────┴────────┴───────────┴───────────┴──▶ nothing has changed
//! ```
//!
//! - [`Control`] holds the configuration in force, and makes one change at a time, in the
//!   order of their arrival. Readers never wait for a change.
//! - [`Runtime`] is implemented by the server that is configured.
//! - [`Source`] says where the configuration comes from: from clients, or from [files](ConfigFiles) that only an
//!   operator changes.
//! - [`StateDir`] keeps the configuration and the certificates of clients over restarts and crashes.
//! - [`Control::serve`] speaks HTTP/1.1 on a Unix or TCP [`Listen`]er.
//! - [`Health`] is whether the server is live and ready, also on a socket of its own.
//! - [`BlockingThreads`] do blocking work, apart from the threads that serve clients, so
//!   that the API answers when those are stuck.
//!
//! This crate does not know how requests of clients are served, and opens no listener: the caller decides who may
//! connect. Connections that the process itself opens for clients of its listeners have their own [`Limits`], and come
//! after those of operators ([`Origin`]).
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | `certificates`, `config` and `status` |
//! | `GET /certificates` and any path below | the certificates' details, without private keys |
//! | `PUT /certificates/NAME` | the result of the upload; with `If-Match: *` it replaces another |
//! | `DELETE /certificates/NAME` | the result; a certificate that the configuration names is not deleted |
//! | `GET`, `PUT`, `DELETE /config` and any path below, `POST` below | the value, or the result of the change |
//! | `GET /status` and any path below | counters |
//! | `GET /status/metrics` | the same, and some more, in Prometheus' text format |
//! | `GET /status/live`, `GET /status/ready` | whether the server is [live and ready](Health): 200 or 503 |
//! | `GET /control/applications/NAME/restart` | `{"success": "Ok"}` once the application is loaded again |
//!
//! Every answer except that of `/status/metrics` is JSON. Each closes its connection, and has one of Unit's titles in
//! `success` or `error`; `detail`, `location` and `suggestion` say more, and a
//! change with parts that have no effect, or are probably mistakes, has `warnings`.
//!
//! ```
//! use control::{
//!     BlockingThreads, Control, Health, PrepareError, RestartError, Restored, Runtime, StateDir,
//!     Status,
//! };
//!
//! /// Serves nothing.
//! struct Nothing(Health);
//!
//! impl Runtime for Nothing {
//!     type Prepared = ();
//!
//!     async fn prepare(&self, _: &config::Config) -> Result<(), PrepareError> {
//!         Ok(())
//!     }
//!
//!     fn warnings(&self, (): &()) -> Vec<config::Warning> {
//!         Vec::new()
//!     }
//!
//!     fn commit(&self, (): ()) {}
//!
//!     fn status(&self) -> Status {
//!         Status::default()
//!     }
//!
//!     fn health(&self) -> &Health {
//!         &self.0
//!     }
//!
//!     async fn restart(&self, _: &str) -> Result<(), RestartError> {
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let state = StateDir::open(directory.join("state"))?;
//! let control = Control::new(Nothing(Health::default()), state, BlockingThreads::start()?);
//! assert_eq!(control.restore().await?, Restored::Nothing);
//! let listener = tokio::net::UnixListener::bind(directory.join("control.unit.sock"))?;
//! let listener = sockets::Listener::Unix(listener);
//! control.serve(listener, async { /* until this is ready */ }).await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod api;
mod body;
mod candidate;
mod certificates;
mod closing;
mod control;
mod exposition;
mod health;
mod health_server;
mod http1;
mod limits;
mod line;
mod listen;
mod metrics;
mod quota;
mod report;
mod runtime;
mod serve;
mod source;
mod state;
mod status;
mod substitution;
mod threads;
mod write_timeout;

pub use control::{ApplyError, Control, RestoreError, Restored};
pub use exposition::METRICS_CONTENT_TYPE;
pub use health::{Health, HealthReport, ReadinessChanges};
pub use limits::Limits;
pub use listen::{Listen, Origin};
pub use runtime::{PrepareError, RestartError, Runtime};
pub use source::{ConfigFiles, Source};
pub use state::{CERTIFICATES, LoadError, Saved, StateDir, StateError};
pub use status::{
    ApplicationInstances, ApplicationStatus, ConfigFilesStatus, Connections, HeldForClients,
    Instances, Module, Process, Processes, Status,
};
pub use substitution::{Resolved, resolve};
pub use threads::BlockingThreads;

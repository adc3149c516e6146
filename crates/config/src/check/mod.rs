//! The typed configuration, and the check that converts a tree to it.
//!
//! The check visits a tree in Unit's order and stops at the first error, with Unit's text if Unit has one. Every
//! accepted member is one of these three, and never silently ignored otherwise:
//!
//! - **Enforced.** `listeners`: `pass`, `application`, `backlog`, `forwarded`, `client_ip`, and `tls` except for
//!   `conf_commands`, which is refused. `routes`, `upstreams`, `access_log`. `settings.listen_threads` and
//!   `settings.http`. `applications`: `type`, `module`, `component`, `environment`, `authority`, `access`,
//!   `instances`, `limits`, `stdout`, `stderr`; for their paths, `working_directory` and `isolation.rootfs`.
//! - **Ignored by design**: the handlers of the older `wasm` type (`request_handler`, `malloc_handler`, …).
//! - **Ignored with a warning**: `processes`, `limits.requests`, `limits.shm`, `working_directory`, `user`,
//!   `group`, `isolation`, `settings.telemetry`; of `settings.http`, `compression`,
//!   `websocket`, `body_temp_path` and the options of buffers.

mod access;
mod access_log;
mod action;
mod address;
mod application;
mod authority;
mod checker;
mod compression;
mod error;
mod forwarded;
mod instances;
mod isolation;
mod json_schema;
mod limits;
mod listener;
mod location;
mod matching;
mod pass;
mod patterns;
mod processes;
mod route;
mod servers;
mod settings;
mod suggestion;
mod table;
mod telemetry;
mod template;
mod tls;
mod upstream;

pub use access::{Access, Folder};
pub use access_log::{AccessLog, LogFormat};
pub use action::{Action, ActionKind, ResponseHeader, Return, Share};
pub use application::{Application, ApplicationType};
pub use authority::Authority;
pub use error::{ConfigError, Warning};
pub use instances::Instances;
pub use limits::Limits;
pub use listener::{ListenAddress, Listener};
pub use pass::Pass;
pub use route::Route;
pub use settings::Settings;
pub use tls::{missing_certificate, uses_certificate};
pub use upstream::{ServerAddress, Upstream, UpstreamServer, Weight};

use access_log::ACCESS_LOG;
use address::ADDRESS;
use application::APPLICATION;
use checker::Checker;
use listener::LISTENER;
use route::ROUTES;
use settings::SETTINGS;
use table::{Form, Kinds, Map, Member, Table};
use upstream::UPSTREAM;

use crate::Value;

/// A checked configuration. Left to check is only what depends on the machine: whether components load, folders
/// exist and addresses are free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The settings of all listeners.
    pub settings: Settings,
    /// The listeners, in the order of the text. Their addresses differ.
    pub listeners: Vec<Listener>,
    /// The routes, in the order of the text. Their names differ.
    pub routes: Vec<Route>,
    /// The upstreams, in the order of the text. Their names differ.
    pub upstreams: Vec<Upstream>,
    /// The applications, in the order of the text. Their names differ.
    pub applications: Vec<Application>,
    /// The access log, if there is one.
    pub access_log: Option<AccessLog>,
}

/// The result of [`Config::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The typed configuration.
    pub config: Config,
    /// Members that are ignored, or have an effect that was hardly intended.
    pub warnings: Vec<Warning>,
}

static ROOT: Table = Table::new(
    "configuration",
    "The whole configuration; an empty one is valid and serves nothing.",
    &[&[
        Member::optional(
            "settings",
            &[Form::Object(&SETTINGS)],
            "Options that apply to all listeners.",
        ),
        Member::optional(
            "listeners",
            &[Form::Map(
                Map::of(&[Form::Object(&LISTENER)]).with_names(ADDRESS),
            )],
            "Where each address sends its requests, such as 127.0.0.1:8080, *:8080, [::1]:8080 or unix:/run/app.sock.",
        ),
        Member::optional(
            "routes",
            ROUTES,
            "Rules that choose how a request is answered: one array of steps, or several by name.",
        ),
        Member::optional(
            "applications",
            &[Form::Map(Map::of(&[Form::Choice(&APPLICATION)]))],
            "WebAssembly components by name.",
        ),
        Member::optional(
            "upstreams",
            &[Form::Map(Map::of(&[Form::Object(&UPSTREAM)]))],
            "Groups of other servers by name.",
        ),
        Member::optional(
            "access_log",
            ACCESS_LOG,
            "The file to which requests are logged, an absolute path, or an object with it; none by default.",
        ),
    ]],
);

/// A JSON Schema (draft 2020-12) of the configuration, with a description of each member. It is made from the tables
/// by which [`Config::check`] goes, and accepts each tree that is accepted there. What it cannot express, and leaves
/// to the check, is how values refer to each other, and what else strings have to be beyond their beginning.
///
/// ```
/// let schema = config::json_schema();
/// let path = config::Path::parse("/properties/listeners/description")?;
/// assert!(schema.at(&path).is_some());
/// # Ok::<(), config::PathError>(())
/// ```
#[must_use]
pub fn json_schema() -> Value {
    json_schema::document(&ROOT)
}

impl Config {
    /// Checks a whole tree. An empty object is a valid configuration.
    ///
    /// # Errors
    ///
    /// The first error, and its path.
    ///
    /// ```
    /// let tree = config::parse(br#"{"aplications": {}}"#)?;
    /// let error = config::Config::check(&tree).unwrap_err();
    /// assert_eq!(error.detail, "Unknown parameter \"aplications\".");
    /// assert_eq!(error.suggestion, Some("applications"));
    /// # Ok::<(), config::JsonError>(())
    /// ```
    pub fn check(root: &Value) -> Result<Checked, ConfigError> {
        let mut checker = Checker::new(root);
        checker.kind(None, root, Kinds::OBJECT)?;
        let mut config = Self::default();
        checker.members(root, &ROOT, |checker, name, value| match name {
            "listeners" => checker.each(value, |checker, name, value| {
                let listener = listener::check(checker, name, value)?;
                if let Some(other) = config.listener(&listener.address) {
                    let other = other.address.name();
                    return Err(checker.error(format!(
                        "The listener address \"{name}\" is the same as \"{other}\"."
                    )));
                }
                config.listeners.push(listener);
                Ok(())
            }),
            "applications" => checker.each(value, |checker, name, value| {
                config
                    .applications
                    .push(application::check(checker, name, value)?);
                Ok(())
            }),
            "routes" => {
                config.routes = route::check(checker, value)?;
                Ok(())
            }
            "settings" => {
                config.settings = settings::check(checker, value)?;
                Ok(())
            }
            "access_log" => {
                config.access_log = Some(access_log::check(checker, value)?);
                Ok(())
            }
            // "upstreams", the last of the table.
            _ => checker.each(value, |checker, name, value| {
                config
                    .upstreams
                    .push(upstream::check(checker, name, value)?);
                Ok(())
            }),
        })?;
        Ok(Checked {
            config,
            warnings: checker.into_warnings(),
        })
    }

    /// The application of this name.
    #[must_use]
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.applications
            .iter()
            .find(|application| application.name == name)
    }

    /// The `share`s of all steps, and those of their fallbacks.
    pub fn shares(&self) -> impl Iterator<Item = &Share> {
        let steps = self.routes.iter().flat_map(|route| route.steps.steps());
        steps.flat_map(|(_, action)| action.shares())
    }

    /// The listener on the same socket as `address`.
    #[must_use]
    pub fn listener(&self, address: &ListenAddress) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| listener.address.socket() == address.socket())
    }
}

#[cfg(test)]
mod tests;

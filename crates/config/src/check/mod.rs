//! The typed configuration, and the check that makes it of a tree.
//!
//! The check goes through a tree in Unit's order and stops at the first thing
//! that is wrong, with Unit's text where Unit has one. Every member that is
//! accepted is one of three things, never silently a fourth:
//!
//! | what | members |
//! | --- | --- |
//! | enforced | `listeners`: `pass`, `application`, `backlog`, `forwarded`, `client_ip`, `tls` but for `conf_commands`, which are refused; `routes`; `upstreams`; `settings.listen_threads`, `settings.http`, `access_log`; `applications`: `type`, `module`, `component`, `environment`, `authority`, `access`, `instances`, `limits` but for those below, `stdout`, `stderr`, and for their paths `working_directory` and `isolation.rootfs` |
//! | without effect by design: the handlers of the older `wasm` type | `request_handler`, `malloc_handler`, `free_handler`, `module_init_handler`, `module_end_handler`, `request_init_handler`, `request_end_handler`, `response_end_handler` |
//! | without effect here, with a warning | `processes`, `limits.requests`, `limits.shm`, `working_directory`, `user`, `group`, `isolation`; `settings.telemetry`, and of `settings.http` `compression` and what is about buffers |

mod access;
mod access_log;
mod action;
mod address;
mod application;
mod authority;
mod compression;
mod error;
mod forwarded;
mod instances;
mod isolation;
mod limits;
mod listener;
mod location;
mod matching;
mod pass;
mod patterns;
mod processes;
mod route;
mod schema;
mod servers;
mod settings;
mod suggestion;
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

use schema::{Checker, Kinds, Member};

use crate::Value;

/// A configuration on which nothing is left to check but what only the machine
/// knows: whether the components load, the folders are there and the addresses
/// are free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What holds for all listeners.
    pub settings: Settings,
    /// The listeners, in the order of the text. Their addresses differ.
    pub listeners: Vec<Listener>,
    /// The arrays of steps, in the order of the text. Their names differ.
    pub routes: Vec<Route>,
    /// The servers to proxy to, in the order of the text. Their names differ.
    pub upstreams: Vec<Upstream>,
    /// The applications, in the order of the text. Their names differ.
    pub applications: Vec<Application>,
    /// Where requests are noted, if anywhere.
    pub access_log: Option<AccessLog>,
}

/// What [`Config::check`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// What it asks for and does not get, for whoever sent it to read.
    pub warnings: Vec<Warning>,
}

const ROOT: &[Member] = &[
    Member::optional("settings", Kinds::OBJECT),
    Member::optional("listeners", Kinds::OBJECT),
    Member::optional("routes", Kinds::ARRAY.or(Kinds::OBJECT)),
    Member::optional("applications", Kinds::OBJECT),
    Member::optional("upstreams", Kinds::OBJECT),
    Member::optional("access_log", Kinds::STRING.or(Kinds::OBJECT)),
];

impl Config {
    /// Checks a whole tree. An empty object is a configuration of nothing.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, and where.
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
        checker.members(root, &[ROOT], |checker, name, value| match name {
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
            "upstreams" => checker.each(value, |checker, name, value| {
                config
                    .upstreams
                    .push(upstream::check(checker, name, value)?);
                Ok(())
            }),
            _ if schema::is_empty(value) => Ok(()),
            _ => Err(checker.unsupported(name)),
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

    /// All that is shared by a step of a route, be it as a fallback.
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

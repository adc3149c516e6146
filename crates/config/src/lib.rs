//! NGINX Unit's configuration: text in, checked types out.
//!
//! ```text
//! bytes ──parse──▶ Value ──put / append / delete──▶ Value ──check──▶ Checked { config, warnings }
//!   ▲      │JsonError        │EditError                      │ConfigError
//!   └────────────────── print / print_pretty ◀───────────────┘ (the same Value)
//! ```
//!
//! - [`parse`] reads Unit's dialect of JSON; errors have a line and a column.
//! - [`Value`] keeps the order of members and the spelling of numbers, so that a GET returns what a PUT sent.
//! - [`put`], [`append`] and [`delete`] return an edited copy of a tree, by the [`Path`] of a control API request.
//! - [`substitute`] replaces expressions such as `${env:NAME}` in a copy of a tree.
//! - [`Config::check`] converts a whole tree to types on which nothing has to be checked later, with warnings for
//!   options without effect.
//! - [`json_schema`] describes what it accepts, for editors.
//!
//! This crate opens no file and no socket. Whether a component loads, a folder exists or an address is free is
//! checked by the crates that use the configuration.
//!
//! ```
//! let tree = config::parse(br#"{
//!     "listeners": { "127.0.0.1:8080": { "pass": "applications/hello" } },
//!     "applications": { "hello": { "type": "wasm", "module": "/srv/hello.wasm", } }
//! }"#)?;
//! let checked = config::Config::check(&tree)?;
//! assert_eq!(checked.config.listeners[0].address.name(), "127.0.0.1:8080");
//!
//! // An edit returns a new tree; the old one is unchanged.
//! let path = config::Path::parse("/listeners/127.0.0.1:8080/pass")?;
//! let edited = config::put(&tree, &path, config::parse(b"\"applications/other\"")?)?;
//! let error = config::Config::check(&edited).unwrap_err();
//! assert_eq!(error.path.to_string(), "/listeners/127.0.0.1:8080/pass");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bounds;
mod check;
mod edit;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod json;
mod path;
mod substitution;
mod value;

pub use check::{
    Access, AccessLog, Action, ActionKind, Application, ApplicationType, Authority, Checked,
    Config, ConfigError, Folder, Instances, Limits, ListenAddress, Listener, LogFormat, Pass,
    ResponseHeader, Return, Route, ServerAddress, Settings, Share, Upstream, UpstreamServer,
    Warning, Weight, json_schema, missing_certificate, uses_certificate,
};
pub use edit::{EditError, append, delete, put};
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz_text;
pub use json::{
    JsonError, JsonErrorKind, Location, MAX_DEPTH, MAX_ELEMENTS, Position, locate, parse, print,
    print_pretty,
};
pub use path::{Path, PathError};
pub use substitution::{
    Expression, MAX_EXPRESSIONS, MAX_VALUE, MAX_VALUES, SubstitutionError, Values, has_expressions,
    substitute,
};
pub use value::{Number, Object, Value};

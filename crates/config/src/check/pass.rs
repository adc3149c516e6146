//! `pass`: the destination of requests.

use routing::{Destination, Template};

use super::checker::Checker;
use super::error::ConfigError;
use super::template;
use crate::Value;

/// The destination of a `pass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The application of this name, which exists.
    Application(String),
    /// The route of this name, which exists. `None` if `routes` is one array without names.
    Routes(Option<String>),
    /// The upstream of this name, which exists.
    Upstream(String),
    /// The server's own metrics, in Prometheus' text format.
    Metrics,
    /// A destination that is expanded for each request. It may not exist, and is never [`Metrics`](Self::Metrics).
    Variable(Template),
}

/// Of the member `pass`, wherever it is.
pub(super) const DESCRIPTION: &str = "Where requests go: applications/NAME, routes, routes/NAME, upstreams/NAME or \
                                      metrics; with variables.";

pub(super) fn check(checker: &Checker<'_>, name: &str, value: &Value) -> Result<Pass, ConfigError> {
    let pass = value.as_str().unwrap_or_default();
    if pass.contains(['$', '`']) {
        let template = template::check(checker, name, pass)?;
        return match template.constant() {
            // Its only variable is `$dollar`.
            Some(constant) => destination(checker, pass, constant),
            None => Ok(Pass::Variable(template)),
        };
    }
    destination(checker, pass, pass.as_bytes())
}

fn destination(checker: &Checker<'_>, pass: &str, text: &[u8]) -> Result<Pass, ConfigError> {
    let Some(destination) = Destination::parse(text) else {
        return Err(checker.error(format!("Request \"pass\" value \"{pass}\" is invalid.")));
    };
    let member = |kind: &str| checker.root.child(kind);
    let named = |kind: &str, name: &str| {
        let found = member(kind).and_then(|kind| kind.as_object()?.get(name));
        found.is_some()
    };
    match destination {
        // Components have no targets.
        Destination::Application { name, target: None } if named("applications", &name) => {
            Ok(Pass::Application(name))
        }
        Destination::Routes(None) if member("routes").is_some_and(is_array) => {
            Ok(Pass::Routes(None))
        }
        Destination::Routes(Some(name)) if named("routes", &name) => Ok(Pass::Routes(Some(name))),
        Destination::Upstream(name) if named("upstreams", &name) => Ok(Pass::Upstream(name)),
        Destination::Metrics => Ok(Pass::Metrics),
        _ => Err(checker.error(format!(
            "Request \"pass\" points to invalid location \"{pass}\"."
        ))),
    }
}

fn is_array(value: &Value) -> bool {
    value.as_array().is_some()
}

//! `pass`: who answers instead.

use routing::{Destination, Template};

use super::error::ConfigError;
use super::schema::Checker;
use super::template;
use crate::Value;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// To the application of this name, which exists.
    Application(String),
    /// To the steps of this name, which exist; those of the array that is all of `routes` have none.
    Routes(Option<String>),
    /// To the upstream of this name, which exists.
    Upstream(String),
    /// To the server's own counters, in Prometheus' text format.
    Metrics,
    /// To what this says for each request, which may be nothing that exists, and is never
    /// [`Metrics`](Self::Metrics).
    Variable(Template),
}

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
        // Applications of ours have no targets.
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

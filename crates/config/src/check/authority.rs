//! `authority`: the authority of a request for guests.

use super::checker::{Checker, shortened};
use super::error::ConfigError;
use super::suggestion;
use crate::Value;

/// The authority of a request that guests of an application see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// `server-name`: the host in lower case, without port, as in Unit.
    ServerName,
    /// `host`: the host as the client sent it, with its port.
    Host,
}

impl Authority {
    /// The values of the option.
    pub const NAMES: [&str; 2] = ["server-name", "host"];

    /// Parses a value of the option.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "server-name" => Some(Self::ServerName),
            "host" => Some(Self::Host),
            _ => None,
        }
    }
}

pub(super) fn check(checker: &Checker<'_>, value: &Value) -> Result<Authority, ConfigError> {
    let text = value.as_str().unwrap_or_default();
    Authority::parse(text).ok_or_else(|| {
        let [server_name, host] = Authority::NAMES;
        let text_shown = shortened(text);
        let error = checker.error(format!(
            "The \"authority\" value must be \"{server_name}\" or \"{host}\", but not \"{text_shown}\"."
        ));
        ConfigError {
            suggestion: suggestion::nearest(text, Authority::NAMES.into_iter()),
            ..error
        }
    })
}

//! Errors and warnings of the check.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use thiserror::Error;

use crate::Path;

/// Why a tree is refused as a configuration. The control API's answer has the title "Invalid configuration."
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail} (at \"{path}\")")]
pub struct ConfigError {
    /// The reason as a sentence, which is Unit's if Unit has one.
    pub detail: String,
    /// The path of the wrong value, or of the missing one.
    pub path: Path,
    /// "Did you mean": a known name near to an unknown one.
    pub suggestion: Option<&'static str>,
}

/// A member that is accepted, but ignored or with an effect that was hardly intended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The member's path.
    pub path: Path,
    /// The reason, without a full stop.
    pub reason: Cow<'static, str>,
}

impl Display for Warning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

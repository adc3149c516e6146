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
    /// The name of a member below `path` that is not known.
    pub unknown: Option<String>,
    /// "Did you mean": a known name near to an unknown one.
    pub suggestion: Option<&'static str>,
}

impl ConfigError {
    /// The path of what is wrong in the text: of the member itself if it is not known.
    #[must_use]
    pub fn place(&self) -> Path {
        let path = self.path.clone();
        match &self.unknown {
            Some(name) => path.join(name),
            None => path,
        }
    }
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

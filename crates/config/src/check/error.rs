//! What is wrong with a configuration, and what has no effect.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use thiserror::Error;

use crate::Path;

/// A tree that is no configuration. In the control API's answer, the title
/// "Invalid configuration." stands before it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail} (at \"{path}\")")]
pub struct ConfigError {
    /// What is wrong: a sentence, Unit's own where it has one.
    pub detail: String,
    /// The value that is wrong, or where it is missing.
    pub path: Path,
    /// The member that an unknown one was probably meant to be.
    pub suggestion: Option<&'static str>,
}

/// Something that is accepted, and has no effect or one that was hardly meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub path: Path,
    /// Why.
    pub reason: Cow<'static, str>,
}

impl Display for Warning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

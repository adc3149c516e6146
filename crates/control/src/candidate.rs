//! A tree on its way to be the configuration in force: its expressions, and its check.

use std::sync::Arc;

use config::{Checked, Config, ConfigError, Object, SubstitutionError, Value, Warning};

use crate::answer::Failure;
use crate::substitution::{Resolved, resolve};

/// The configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    /// As it was written: this is shown and kept.
    pub(crate) tree: Arc<Value>,
    /// With the values of its expressions: this is in force.
    pub(crate) resolved: Resolved,
}

/// A configuration that has been checked, and is neither prepared nor kept yet.
pub(crate) struct Candidate {
    pub(crate) current: Current,
    pub(crate) config: Config,
    pub(crate) warnings: Vec<String>,
}

impl Current {
    /// What Unit has before its first configuration.
    pub(crate) fn empty() -> Self {
        let tree = Arc::new(empty());
        Self {
            resolved: Resolved {
                tree: Arc::clone(&tree),
                values: Arc::default(),
            },
            tree,
        }
    }

    pub(crate) fn warnings(&self, warnings: &[Warning]) -> Vec<String> {
        let warnings = warnings.iter();
        let warnings = warnings.map(|warning| self.resolved.conceal_warning(warning));
        warnings.collect()
    }
}

impl Candidate {
    /// Checks a tree with the values of its expressions, and then what `further` finds in it. Blocks.
    pub(crate) fn check(
        tree: Value,
        substitution: bool,
        further: impl FnOnce(&Value) -> Option<ConfigError>,
    ) -> Result<Self, CheckError> {
        let tree = Arc::new(tree);
        let resolved = resolve(&tree, substitution)?;
        let checked = Config::check(&resolved.tree).and_then(|checked| {
            let error = further(&resolved.tree);
            error.map_or(Ok(checked), Err)
        });
        let Checked { config, warnings } =
            checked.map_err(|error| resolved.conceal_invalid(error))?;
        let current = Current { tree, resolved };
        Ok(Self {
            warnings: current.warnings(&warnings),
            current,
            config,
        })
    }
}

/// Why a tree is no candidate.
pub(crate) enum CheckError {
    Substitution(SubstitutionError),
    Invalid(ConfigError),
}

impl From<SubstitutionError> for CheckError {
    fn from(error: SubstitutionError) -> Self {
        Self::Substitution(error)
    }
}

impl From<ConfigError> for CheckError {
    fn from(error: ConfigError) -> Self {
        Self::Invalid(error)
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Substitution(error) => error.into(),
            CheckError::Invalid(error) => error.into(),
        }
    }
}

/// What Unit has before its first configuration.
fn empty() -> Value {
    [
        ("listeners", Object::default().into()),
        ("routes", Value::Array(Vec::new())),
        ("applications", Object::default().into()),
    ]
    .into_iter()
    .collect()
}

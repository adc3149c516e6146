//! Strings with variables.

use routing::{
    Condition, Rewrite, RewriteError, Template, TemplateError, TemplateErrorKind, VariableSet,
};

use super::checker::Checker;
use super::error::ConfigError;

/// As in Unit, all variables are allowed everywhere; those of the response are empty until there is one.
const VARIABLES: VariableSet = VariableSet::ALL;

/// The value of the member `name`, which may contain variables.
pub(super) fn check(
    checker: &Checker<'_>,
    name: &str,
    text: &str,
) -> Result<Template, ConfigError> {
    Template::parse(text, VARIABLES).map_err(|error| refused(checker, name, &error))
}

/// An `if`.
pub(super) fn condition(checker: &Checker<'_>, text: &str) -> Result<Condition, ConfigError> {
    Condition::parse(text, VARIABLES).map_err(|error| refused(checker, "if", &error))
}

/// A `rewrite`.
pub(super) fn rewrite(checker: &Checker<'_>, text: &str) -> Result<Rewrite, ConfigError> {
    Rewrite::parse(text, VARIABLES).map_err(|error| match error {
        RewriteError::Template(error) => refused(checker, "rewrite", &error),
        RewriteError::Path { value, reason } => checker.error(format!(
            "The \"rewrite\" value \"{value}\" is not a valid path: {reason}."
        )),
    })
}

fn refused(checker: &Checker<'_>, name: &str, error: &TemplateError) -> ConfigError {
    let why = match &error.kind {
        TemplateErrorKind::Invalid { position } => {
            format!("Invalid variable at position {position}")
        }
        TemplateErrorKind::Unknown(variable) => format!("Unknown variable \"{variable}\""),
        TemplateErrorKind::Unavailable(variable) => {
            format!("The variable \"{variable}\" has no value")
        }
        TemplateErrorKind::Script => "JavaScript (njs) is not supported".to_owned(),
    };
    checker.error(format!("{why} in the \"{name}\" value."))
}

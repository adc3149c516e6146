//! The `if` of a step or of the access log.

use crate::template::{Template, TemplateError};
use crate::variable::{VariableKind, VariableSet, Variables};

/// An `if`: a template that is true or false, and with a `!` before it, negated.
///
/// False are the expansions ``, `0`, `false`, `null` and `undefined`, exactly. Everything else is true, also
/// ` 0` and `False`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    negated: bool,
    template: Template,
}

impl Condition {
    /// Parses a condition.
    ///
    /// # Errors
    ///
    /// If the text after the `!` is not a template.
    pub fn parse(text: &str, allowed: VariableSet) -> Result<Self, TemplateError> {
        let (negated, template) = match text.strip_prefix('!') {
            Some(template) => (true, template),
            None => (false, text),
        };
        Ok(Self {
            negated,
            template: Template::parse(template, allowed)?,
        })
    }

    /// Whether it contains a variable of this kind.
    pub fn mentions(&self, kind: VariableKind) -> bool {
        self.template.mentions(kind)
    }

    /// Whether the condition is true.
    pub fn holds<V: Variables + ?Sized>(&self, variables: &V) -> bool {
        let no = matches!(
            &*self.template.expand(variables),
            b"" | b"0" | b"false" | b"null" | b"undefined"
        );
        no == self.negated
    }
}

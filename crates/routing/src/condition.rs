use crate::template::{Template, TemplateError};
use crate::variable::{VariableKind, VariableSet, Variables};

/// An `if`: a template that says yes or no, or with a `!` in front, the other way round.
///
/// No is what is empty, `0`, `false`, `null` or `undefined` once it is expanded, to the letter. All
/// else is yes, ` 0` and `False` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    negated: bool,
    template: Template,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// When what stands behind the `!` is not a template.
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

    /// Whether a variable of this kind is in it.
    pub fn mentions(&self, kind: VariableKind) -> bool {
        self.template.mentions(kind)
    }

    /// Whether it holds.
    pub fn holds<V: Variables + ?Sized>(&self, variables: &V) -> bool {
        let no = matches!(
            &*self.template.expand(variables),
            b"" | b"0" | b"false" | b"null" | b"undefined"
        );
        no == self.negated
    }
}

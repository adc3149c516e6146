//! The `rewrite` of an action: a new path for the request.

use std::borrow::Cow;

use untrusted_text::excerpt;

use crate::target::{self, Target, TargetError};
use crate::template::{Template, TemplateError};
use crate::variable::{VariableKind, VariableSet, Variables};

/// A `rewrite`: replaces the path of a request before the action is taken.
///
/// The expanded template is parsed like a target: percent-decoded, its segments resolved, and everything
/// from the first `?` or `#` dropped, since the request keeps its query. So a `%` in `$uri` is decoded a
/// second time, as in Unit; `$request_uri` is not decoded yet. The path need not begin with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    template: Template,
    /// The path, if the template has no variables.
    constant: Option<Box<[u8]>>,
}

/// Why a text is refused as a `rewrite`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// It is not a template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It has no variables, and is not a valid path. Unit accepts it, and answers every request with 500.
    #[error("\"{value}\" is not a valid path: {reason}")]
    Path {
        /// The text.
        value: String,
        /// The rule that it breaks.
        reason: TargetError,
    },
}

impl Rewrite {
    /// Parses a rewrite.
    ///
    /// # Errors
    ///
    /// If `text` is not a template, or has no variables and is not a path.
    pub fn parse(text: &str, allowed: VariableSet) -> Result<Self, RewriteError> {
        let template = Template::parse(text, allowed)?;
        let constant = match template.constant().map(path) {
            None => None,
            Some(Ok(path)) => Some(path.into()),
            Some(Err(reason)) => {
                let value = excerpt(text);
                return Err(RewriteError::Path { value, reason });
            }
        };
        Ok(Self { template, constant })
    }

    /// Whether it contains a variable of this kind.
    pub fn mentions(&self, kind: VariableKind) -> bool {
        self.template.mentions(kind)
    }

    /// The request's target with the new path and the old query.
    ///
    /// # Errors
    ///
    /// If the new path is not valid; Unit answers 500 then. Unit does not refuse a null character, a `..` at
    /// the very beginning, and `..;`. These are path traversal by the value of a variable.
    pub fn apply<'a, V: Variables + ?Sized>(
        &'a self,
        target: &Target<'a>,
        variables: &V,
    ) -> Result<Target<'a>, TargetError> {
        let path = match &self.constant {
            Some(path) => Cow::Borrowed(&**path),
            None => Cow::Owned(path(&self.template.expand(variables))?.into_owned()),
        };
        Ok(target.with_path(path))
    }
}

fn path(text: &[u8]) -> Result<Cow<'_, [u8]>, TargetError> {
    let (path, _) = target::split(text);
    if path.contains(&b'\0') {
        return Err(TargetError::Forbidden);
    }
    target::normalise(path).map(|normalised| normalised.path)
}

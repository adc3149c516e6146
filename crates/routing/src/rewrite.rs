use std::borrow::Cow;

use untrusted_text::excerpt;

use crate::target::{self, Target, TargetError};
use crate::template::{Template, TemplateError};
use crate::variable::{VariableKind, VariableSet, Variables};

/// A `rewrite` of an action: it replaces the path of a request before the action is taken.
///
/// What the template expands to is read like a target: decoded once more, its segments resolved, and
/// what follows a `?` or `#` is dropped, for the request keeps the query that it came with. So a `%`
/// in `$uri` is decoded a second time, in Unit, too; `$request_uri` is what has not been decoded yet.
/// It need not begin with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    template: Template,
    /// The path, where it is always the same.
    constant: Option<Box<[u8]>>,
}

/// A text that rewrites nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// It is not a template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It is the same for all requests, and refused for all of them. Unit takes it, and answers each
    /// one with 500.
    #[error("\"{value}\" is no path: {reason}")]
    Path {
        /// The text.
        value: String,
        /// What is wrong with it.
        reason: TargetError,
    },
}

impl Rewrite {
    /// Reads a rewrite.
    ///
    /// # Errors
    ///
    /// When `text` is not a template, or can never be a path.
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

    /// Whether a variable of this kind is in it.
    pub fn mentions(&self, kind: VariableKind) -> bool {
        self.template.mentions(kind)
    }

    /// The request's target with its new path and its old query.
    ///
    /// # Errors
    ///
    /// When the new path is refused, for which Unit answers 500. Beyond what Unit refuses these are a
    /// null character, a `..` at the very beginning, and `..;`: all could only come of what a client says in
    /// a variable.
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

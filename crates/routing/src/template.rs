//! Strings of the configuration with variables in them.

use std::borrow::Cow;
use std::fmt;

use untrusted_text::excerpt;

use crate::variable::{Variable, VariableKind, VariableSet, Variables};

/// A parsed template. `Display` shows its text, and templates with the same text are equal.
#[derive(Clone, Debug)]
pub struct Template {
    text: Box<str>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// No variables; `$dollar` is replaced.
    Constant(Box<[u8]>),
    /// At least one piece is a variable.
    Pieces(Box<[Piece]>),
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<[u8]>),
    Variable(Variable),
}

/// A piece of an expanded [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expanded<'a> {
    /// Text of the configuration, the same for all requests.
    Literal(&'a [u8]),
    /// The value of a variable, which a client may have chosen.
    Value(&'a [u8]),
}

/// Why a text is refused as a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} in \"{value}\"")]
pub struct TemplateError {
    /// An [`excerpt`] of the text.
    pub value: String,
    /// The reason.
    pub kind: TemplateErrorKind,
}

/// The reason why a template is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateErrorKind {
    /// A `$` without a name, or braces with anything but a name.
    #[error("invalid variable at position {position}")]
    Invalid {
        /// The offset of the `$` in bytes.
        position: usize,
    },
    /// An unknown variable.
    #[error("unknown variable \"{0}\"")]
    Unknown(String),
    /// A variable that is not allowed here, since it has no value yet.
    #[error("variable \"{0}\" has no value yet")]
    Unavailable(String),
    /// The text begins with a backquote, as JavaScript templates do. As in a Unit built without njs, these are
    /// not supported.
    #[error("JavaScript is not supported")]
    Script,
}

impl Template {
    /// Parses a template. The [grammar](crate#variables) is at the head of the crate.
    ///
    /// # Errors
    ///
    /// If a variable is malformed, unknown, or not `allowed`.
    pub fn parse(text: &str, allowed: VariableSet) -> Result<Self, TemplateError> {
        Self::read(text, allowed).map_err(|kind| TemplateError {
            value: excerpt(text),
            kind,
        })
    }

    fn read(text: &str, allowed: VariableSet) -> Result<Self, TemplateErrorKind> {
        if text.starts_with('`') {
            return Err(TemplateErrorKind::Script);
        }
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(position) = rest.find('$') {
            let (front, reference) = rest.split_at(position);
            literal.extend_from_slice(front.as_bytes());
            let (name, after) = reference_name(reference).ok_or(TemplateErrorKind::Invalid {
                position: text.len() - reference.len(),
            })?;
            rest = after;
            if name == "dollar" {
                literal.push(b'$');
                continue;
            }
            let Some(variable) = Variable::named(name) else {
                return Err(TemplateErrorKind::Unknown(excerpt(name)));
            };
            if !allowed.contains(variable.kind()) {
                return Err(TemplateErrorKind::Unavailable(excerpt(name)));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Variable(variable));
        }
        literal.extend_from_slice(rest.as_bytes());
        let content = if pieces.is_empty() {
            Content::Constant(literal.into())
        } else {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.into()));
            }
            Content::Pieces(pieces.into())
        };
        Ok(Self {
            text: text.into(),
            content,
        })
    }

    /// The expansion, if the template has no variables.
    pub fn constant(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Constant(bytes) => Some(bytes),
            Content::Pieces(_) => None,
        }
    }

    /// A prefix that every expansion has: the text before the first variable, and a slash if that variable is
    /// `$uri`, which begins with one.
    pub fn constant_prefix(&self) -> Cow<'_, [u8]> {
        let pieces = match &self.content {
            Content::Constant(bytes) => return Cow::Borrowed(bytes),
            Content::Pieces(pieces) => pieces,
        };
        let (literal, next) = match &**pieces {
            [Piece::Literal(literal), rest @ ..] => (&**literal, rest.first()),
            all => (&b""[..], all.first()),
        };
        match next {
            Some(Piece::Variable(Variable::Uri)) => [literal, b"/"].concat().into(),
            _ => Cow::Borrowed(literal),
        }
    }

    /// Whether it contains a variable of this kind.
    pub fn mentions(&self, kind: VariableKind) -> bool {
        let is_it = |piece: &Piece| matches!(piece, Piece::Variable(it) if it.kind() == kind);
        match &self.content {
            Content::Constant(_) => false,
            Content::Pieces(pieces) => pieces.iter().any(is_it),
        }
    }

    /// The text with its variables replaced; those without a value are empty. Copies nothing if the template
    /// is a constant or a single variable.
    pub fn expand<'a, V: Variables + ?Sized>(&'a self, variables: &'a V) -> Cow<'a, [u8]> {
        match &self.content {
            Content::Constant(bytes) => Cow::Borrowed(bytes),
            Content::Pieces(pieces) => match &**pieces {
                [Piece::Variable(variable)] => variables.value(variable).unwrap_or_default(),
                pieces => {
                    let mut expanded = Vec::with_capacity(self.text.len());
                    append(pieces, variables, b"", &mut expanded);
                    Cow::Owned(expanded)
                }
            },
        }
    }

    /// Calls `each` with the pieces of the expansion, so that the values of variables can be checked
    /// separately. Variables without a value are left out.
    pub fn visit<V: Variables + ?Sized>(&self, variables: &V, mut each: impl FnMut(Expanded<'_>)) {
        match &self.content {
            Content::Constant(bytes) => each(Expanded::Literal(bytes)),
            Content::Pieces(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(bytes) => each(Expanded::Literal(bytes)),
                        Piece::Variable(variable) => {
                            if let Some(value) = variables.value(variable) {
                                each(Expanded::Value(&value));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Appends the expansion to a line of the access log: variables without a value are `-`, empty values
    /// stay empty.
    pub fn log<V: Variables + ?Sized>(&self, variables: &V, line: &mut Vec<u8>) {
        match &self.content {
            Content::Constant(bytes) => line.extend_from_slice(bytes),
            Content::Pieces(pieces) => append(pieces, variables, b"-", line),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

fn append<V: Variables + ?Sized>(
    pieces: &[Piece],
    variables: &V,
    absent: &[u8],
    out: &mut Vec<u8>,
) {
    for piece in pieces {
        match piece {
            Piece::Literal(bytes) => out.extend_from_slice(bytes),
            Piece::Variable(variable) => match variables.value(variable) {
                Some(value) => out.extend_from_slice(&value),
                None => out.extend_from_slice(absent),
            },
        }
    }
}

/// The name in the `$name` or `${name}` at the beginning, and the text after it. A name has letters and
/// underscores, but neither digits nor hyphens, though names of header fields may.
fn reference_name(reference: &str) -> Option<(&str, &str)> {
    let name = reference.strip_prefix('$')?;
    let (name, braces) = match name.strip_prefix('{') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let no_letter = |char: char| !char.is_ascii_alphabetic() && char != '_';
    let (name, after) = name.split_at(name.find(no_letter).unwrap_or(name.len()));
    if name.is_empty() {
        return None;
    }
    let after = if braces {
        after.strip_prefix('}')?
    } else {
        after
    };
    Some((name, after))
}

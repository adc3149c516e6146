use std::borrow::Cow;
use std::fmt;

use crate::variable::{Variable, VariableKind, VariableSet, Variables};
use untrusted_text::excerpt;

/// A string of the configuration that may have variables in it.
///
/// Its `Display` is the text it was made of. Two templates are equal when their texts are.
#[derive(Clone, Debug)]
pub struct Template {
    text: Box<str>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// Without variables, `$dollar` replaced.
    Constant(Box<[u8]>),
    /// One piece at least is a variable.
    Pieces(Box<[Piece]>),
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<[u8]>),
    Variable(Variable),
}

/// A piece of what a [`Template`] expands to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expanded<'a> {
    /// It stands there for all requests.
    Literal(&'a [u8]),
    /// It is the value of a variable.
    Value(&'a [u8]),
}

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} in \"{value}\"")]
pub struct TemplateError {
    /// The text, with what cannot be printed escaped, and cut off after 100 characters.
    pub value: String,
    /// What is wrong with it.
    pub kind: TemplateErrorKind,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateErrorKind {
    /// A `$` with no name behind it, or braces that do not hold a name and nothing else.
    #[error("invalid variable at position {position}")]
    Invalid {
        /// How many bytes stand in front of the `$`.
        position: usize,
    },
    /// A variable that Unit does not know either.
    #[error("unknown variable \"{0}\"")]
    Unknown(String),
    /// A variable that is not in the set that was asked for.
    #[error("variable \"{0}\" has no value yet")]
    Unavailable(String),
    /// It begins with a backquote, as JavaScript templates do. There is no JavaScript here, as in a
    /// Unit that was built without njs.
    #[error("JavaScript is not supported")]
    Script,
}

impl Template {
    /// Reads a template. The [grammar](crate#variables) is the crate's.
    ///
    /// # Errors
    ///
    /// When a variable is not written as one, is none, or is not `allowed`.
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
            let (name, behind) = reference_name(reference).ok_or(TemplateErrorKind::Invalid {
                position: text.len() - reference.len(),
            })?;
            rest = behind;
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

    /// What this always expands to, if it has no variable.
    pub fn constant(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Constant(bytes) => Some(bytes),
            Content::Pieces(_) => None,
        }
    }

    /// What everything that this expands to begins with: all in front of the first variable. A path
    /// that such a variable always is counts with its slash.
    pub fn beginning(&self) -> Cow<'_, [u8]> {
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

    /// Whether a variable of this kind is in it.
    pub fn mentions(&self, kind: VariableKind) -> bool {
        let is_it = |piece: &Piece| matches!(piece, Piece::Variable(it) if it.kind() == kind);
        match &self.content {
            Content::Constant(_) => false,
            Content::Pieces(pieces) => pieces.iter().any(is_it),
        }
    }

    /// The text with its variables replaced. Those without a value are empty.
    ///
    /// Nothing is copied where there is no variable, or nothing but one.
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

    /// Hands out what the text expands to, piece by piece, for whoever must know what came out of a
    /// variable. Variables without a value are left out.
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

    /// The same for a line of the access log, behind what `line` has: variables without a value are
    /// `-`. Empty values stay empty.
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

/// The name in `$name` or `${name}` at the beginning, and what is behind it. A name is as many letters
/// and underscores as there are, and no digits or hyphens, whatever fields are called.
fn reference_name(reference: &str) -> Option<(&str, &str)> {
    let name = reference.strip_prefix('$')?;
    let (name, braces) = match name.strip_prefix('{') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let no_letter = |char: char| !char.is_ascii_alphabetic() && char != '_';
    let (name, behind) = name.split_at(name.find(no_letter).unwrap_or(name.len()));
    if name.is_empty() {
        return None;
    }
    let behind = if braces {
        behind.strip_prefix('}')?
    } else {
        behind
    };
    Some((name, behind))
}

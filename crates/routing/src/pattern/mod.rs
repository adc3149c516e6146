//! Patterns of texts, and the rules by which several of them decide.

mod expression;
mod text;
mod wildcard;

use text::Pattern;

use untrusted_text::excerpt;

/// The most memory that a compiled regular expression may take, in bytes.
pub const MAX_REGEX_SIZE: usize = 1 << 20;

/// One pattern or an array of them, for one property.
///
/// A value matches if it matches none of those with a `!` in front, and one of the others, if there
/// are others. Without any pattern everything matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    style: Style,
    negative: Vec<Pattern>,
    positive: Vec<Pattern>,
}

/// How patterns of a property are written and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) case: Case,
    pub(crate) encoding: Encoding,
}

/// What is done about case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    /// The value is in lower case; the pattern is made so.
    Lower,
    /// The value is in upper case; the pattern is made so.
    Upper,
    /// Neither is.
    Insensitive,
}

/// What of the pattern is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    None,
    Percent,
    /// And `+` is a space.
    PercentPlus,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is no pattern: {kind}")]
pub struct PatternError {
    /// The text, with what cannot be printed escaped, and cut off after 100 characters.
    pub value: String,
    /// What is wrong with it.
    pub kind: PatternErrorKind,
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternErrorKind {
    /// `**`.
    #[error("a \"*\" does not follow another one")]
    DoubleWildcard,
    /// A `%` without its digits, where patterns are decoded. A regular expression is not decoded, but
    /// Unit refuses such a `%` there, too.
    #[error(
        "a \"%\" is followed by two hexadecimal digits; the percent sign is \"%25\", or \"\\x25\" \
         in a regular expression"
    )]
    PercentEncoding,
    /// No regular expression, or one of PCRE that is not supported, and what is at which byte of it.
    #[error("the regular expression is not valid: {0}")]
    Regex(String),
    /// More than [`MAX_REGEX_SIZE`].
    #[error("the regular expression takes more than {MAX_REGEX_SIZE} bytes once it is compiled")]
    RegexSize,
}

impl Patterns {
    /// No patterns yet, for media types, as in `types` of a `share`: `image/*`, without regard to
    /// case.
    pub fn media_types() -> Self {
        Self::new(Style {
            case: Case::Insensitive,
            encoding: Encoding::None,
        })
    }

    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            negative: Vec::new(),
            positive: Vec::new(),
        }
    }

    /// Adds one pattern. The [grammar](crate#patterns) is the crate's.
    ///
    /// # Errors
    ///
    /// When `text` is not a pattern, with `text` and the reason. Then nothing is added.
    pub fn push(&mut self, text: &str) -> Result<(), PatternError> {
        // Only the first one negates.
        let (list, pattern) = match text.strip_prefix('!') {
            Some(pattern) => (&mut self.negative, pattern),
            None => (&mut self.positive, text),
        };
        let pattern = Pattern::parse(pattern, self.style).map_err(|kind| PatternError {
            value: excerpt(text),
            kind,
        })?;
        list.push(pattern);
        Ok(())
    }

    /// What all values that match begin with, to the letter.
    pub(crate) fn beginning(&self) -> &[u8] {
        let mut beginnings = self.positive.iter().map(Pattern::beginning);
        let first = beginnings.next().unwrap_or_default();
        beginnings.fold(first, |first, next| {
            let same = first
                .iter()
                .zip(next)
                .take_while(|(one, other)| one == other);
            &first[..same.count()]
        })
    }

    /// Whether a value matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        let one_of = |list: &[Pattern]| list.iter().any(|pattern| pattern.matches(value));
        !one_of(&self.negative) && (self.positive.is_empty() || one_of(&self.positive))
    }
}

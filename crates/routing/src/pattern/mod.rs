//! Patterns of texts: one alone, and how several decide together.

mod error;
mod expression;
mod style;
mod text;
mod wildcard;

pub use error::{MAX_REGEX_SIZE, PatternError, PatternErrorKind};
pub(crate) use style::{Case, Encoding, Style};

use text::TextPattern;
use untrusted_text::excerpt;

/// One pattern or an array of them, for one property.
///
/// A value matches if it matches none of those with a `!` in front, and one of the others, if there
/// are others. Without any pattern everything matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    style: Style,
    negative: Vec<TextPattern>,
    positive: Vec<TextPattern>,
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
        let pattern = TextPattern::parse(pattern, self.style).map_err(|kind| PatternError {
            value: excerpt(text),
            kind,
        })?;
        list.push(pattern);
        Ok(())
    }

    /// What all values that match begin with, to the letter.
    pub(crate) fn beginning(&self) -> &[u8] {
        let mut beginnings = self.positive.iter().map(TextPattern::beginning);
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
        let one_of = |list: &[TextPattern]| list.iter().any(|pattern| pattern.matches(value));
        !one_of(&self.negative) && (self.positive.is_empty() || one_of(&self.positive))
    }
}

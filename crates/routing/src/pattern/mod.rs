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
/// A value matches if it matches none of the negated patterns, and at least one of the others, if there are
/// others. An empty array matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    style: Style,
    negative: Vec<TextPattern>,
    positive: Vec<TextPattern>,
}

impl Patterns {
    /// An empty array for media types (`image/*`), as in `types` of a `share`: without regard to case.
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

    /// Adds one pattern. The [grammar](crate#patterns) is at the head of the crate.
    ///
    /// # Errors
    ///
    /// If `text` is not a valid pattern. Then nothing is added.
    pub fn push(&mut self, text: &str) -> Result<(), PatternError> {
        // Only the first `!` negates.
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

    /// The prefix that all matching values have.
    pub(crate) fn prefix(&self) -> &[u8] {
        let mut prefixes = self.positive.iter().map(TextPattern::prefix);
        let first = prefixes.next().unwrap_or_default();
        prefixes.fold(first, |first, next| {
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

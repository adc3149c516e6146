//! One pattern of a text: exact, with wildcards, or a regular expression.

use regex::bytes::Regex;
use untrusted_text::percent;

use super::error::PatternErrorKind;
use super::expression;
use super::style::{Case, Encoding, Style};
use super::wildcard::Wildcard;

/// One pattern, without its `!`.
#[derive(Clone, Debug)]
pub(super) struct TextPattern {
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    Exact { text: Box<[u8]>, ignore_case: bool },
    Wildcard(Wildcard),
    Regex(Regex),
}

impl TextPattern {
    pub(super) fn parse(text: &str, style: Style) -> Result<Self, PatternErrorKind> {
        let matcher = match text.strip_prefix('~') {
            Some(text) => {
                let regex = expression::compile(text)?;
                // Unit refuses text that cannot be percent-decoded, though it uses the expression undecoded.
                part(text, style)?;
                Matcher::Regex(regex)
            }
            None => Self::parse_plain(text, style)?,
        };
        Ok(Self {
            text: text.into(),
            matcher,
        })
    }

    fn parse_plain(text: &str, style: Style) -> Result<Matcher, PatternErrorKind> {
        if text.contains("**") {
            return Err(PatternErrorKind::DoubleWildcard);
        }
        // Split before decoding, so that `%2A` is an asterisk and not a wildcard.
        let parts: Result<Vec<_>, _> = text.split('*').map(|text| part(text, style)).collect();
        let ignore_case = style.case == Case::Insensitive;
        Ok(match <[_; 1]>::try_from(parts?) {
            Ok([text]) => Matcher::Exact { text, ignore_case },
            Err(parts) => Matcher::Wildcard(Wildcard::new(parts, ignore_case)),
        })
    }

    /// The prefix that all matching values have.
    pub(super) fn prefix(&self) -> &[u8] {
        match &self.matcher {
            Matcher::Exact {
                text,
                ignore_case: false,
            } => text,
            Matcher::Wildcard(wildcard) => wildcard.prefix(),
            Matcher::Exact { .. } | Matcher::Regex(_) => b"",
        }
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Exact {
                text,
                ignore_case: true,
            } => value.eq_ignore_ascii_case(text),
            Matcher::Exact { text, .. } => *value == **text,
            Matcher::Wildcard(wildcard) => wildcard.matches(value),
            Matcher::Regex(regex) => regex.is_match(value),
        }
    }
}

/// By the text: the matcher follows from it and the style.
impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TextPattern {}

/// A literal part of a pattern, decoded and converted for comparison.
fn part(text: &str, style: Style) -> Result<Box<[u8]>, PatternErrorKind> {
    let text = text.as_bytes();
    let mut part = match style.encoding {
        Encoding::None => Some(text.to_vec()),
        Encoding::Percent => percent::decode(text),
        Encoding::PercentPlus => percent::decode_form(text),
    }
    .ok_or(PatternErrorKind::PercentEncoding)?;
    match style.case {
        Case::Sensitive | Case::Insensitive => {}
        Case::Lower => part.make_ascii_lowercase(),
        Case::Upper => part.make_ascii_uppercase(),
    }
    Ok(part.into())
}

//! Why a text is refused as a pattern.

/// The most memory that a compiled regular expression may take, in bytes.
pub const MAX_REGEX_SIZE: usize = 1 << 20;

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

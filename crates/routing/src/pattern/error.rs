//! Why a text is refused as a pattern.

/// The most memory that a compiled regular expression may take, in bytes.
pub const MAX_REGEX_SIZE: usize = 1 << 20;

/// Why a text is refused as a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a valid pattern: {kind}")]
pub struct PatternError {
    /// An [`excerpt`](untrusted_text::excerpt) of the text.
    pub value: String,
    /// The reason.
    pub kind: PatternErrorKind,
}

/// The reason why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternErrorKind {
    /// `**`.
    #[error("a \"*\" must not follow another one")]
    DoubleWildcard,
    /// A `%` without two hexadecimal digits, if the property's patterns are percent-decoded. Regular expressions
    /// are not decoded, but Unit refuses such a `%` in them, too.
    #[error(
        "a \"%\" must be followed by two hexadecimal digits; the percent sign is \"%25\", or \"\\x25\" \
         in a regular expression"
    )]
    PercentEncoding,
    /// An invalid or unsupported regular expression: the reason, and the offset in bytes.
    #[error("the regular expression is not valid: {0}")]
    Regex(String),
    /// More than [`MAX_REGEX_SIZE`].
    #[error("the regular expression takes more than {MAX_REGEX_SIZE} bytes once it is compiled")]
    RegexSize,
}

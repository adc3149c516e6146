//! Errors of the parser, with their place in the text.

use thiserror::Error;

use super::limits::{MAX_DEPTH, MAX_ELEMENTS};

/// Why a text is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{location}: {kind}")]
pub struct JsonError {
    /// The reason.
    pub kind: JsonErrorKind,
    /// The place.
    pub location: Location,
}

/// A place in a text. It prints as `line 3, column 14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Bytes before the place. A byte order mark at the start of the text is
    /// not counted, as in Unit.
    pub offset: usize,
    /// The line and the column. `None` if the line is not UTF-8 before the place, as a comment may be: its
    /// characters cannot be counted then.
    pub position: Option<Position>,
}

/// A line and a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1. Lines end with a line feed.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

impl Location {
    /// The place `offset` bytes into `text`, which has no byte order mark.
    pub(super) fn of(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let start = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let position = str::from_utf8(&before[start..]).ok().map(|line| Position {
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            column: 1 + line.chars().count(),
        });
        Self { offset, position }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "line {line}, column {column}"),
            None => write!(f, "byte {}", self.offset),
        }
    }
}

/// What is wrong, and at which byte: an error before its line is counted.
pub(super) struct Failure {
    pub(super) kind: JsonErrorKind,
    pub(super) at: usize,
}

pub(super) fn fail<T>(kind: JsonErrorKind, at: usize) -> Result<T, Failure> {
    Err(Failure { kind, at })
}

/// The reason why a text is refused. The texts are the `detail` of the control API's answer, so they are
/// sentences.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// No value at all.
    #[error("The text has no JSON value, only spaces and comments.")]
    Empty,
    /// Text that does not start a value, or a number or word with a wrong end.
    #[error(
        "A JSON value is expected here: null, true, false, a number, a string in double quotes, \
         an array in brackets [], or an object in braces {{}}."
    )]
    Value,
    /// More text after the value.
    #[error("The JSON value ends before this character; nothing may follow it.")]
    Trailing,
    /// The text ends inside an object.
    #[error("The text ends inside an object: a closing brace }} is missing.")]
    EndInObject,
    /// The text ends inside an array.
    #[error("The text ends inside an array: a closing bracket ] is missing.")]
    EndInArray,
    /// The text ends after a member's name.
    #[error("The text ends after the name of an object member: its value is missing.")]
    EndInMember,
    /// The text ends inside a string.
    #[error("The text ends inside a string: a closing double quote \" is missing.")]
    EndInString,
    /// A member's name is missing.
    #[error("The name of an object member is expected here, in double quotes \".")]
    Name,
    /// A duplicate member name.
    #[error("This object has a member of this name already; names must be unique.")]
    Duplicate,
    /// No colon after a name.
    #[error("A colon : is expected here, between the name of an object member and its value.")]
    Colon,
    /// Neither comma nor brace.
    #[error("A comma , or a closing brace }} is expected here, after an object member.")]
    ObjectComma,
    /// Neither comma nor bracket.
    #[error("A comma , or a closing bracket ] is expected here, after an array element.")]
    ArrayComma,
    /// A control character in a string.
    #[error("A control character in a string must be written as an escape.")]
    Control,
    /// A backslash without a valid escape.
    #[error("This backslash starts no escape; for a backslash itself, write two.")]
    Escape,
    /// `\u` without four hexadecimal digits.
    #[error("Four hexadecimal digits must follow \\u.")]
    UnicodeEscape,
    /// Half a surrogate pair.
    #[error("This escape is half of a UTF-16 surrogate pair, and the other half is missing.")]
    LoneSurrogate,
    /// Two escapes that do not pair.
    #[error("These two escapes are not a UTF-16 surrogate pair.")]
    SurrogatePair,
    /// A string that is not UTF-8.
    #[error("A string must be UTF-8, and this byte is not.")]
    NotUtf8,
    /// `1.`
    #[error("A digit must follow the point in a number.")]
    Fraction,
    /// `1e`
    #[error("A digit must follow the exponent sign in a number.")]
    Exponent,
    /// `01`
    #[error("A number must not start with a zero that other digits follow.")]
    LeadingZero,
    /// A number of more than 14 characters.
    #[error("The number is too long: at most 14 characters are allowed.")]
    NumberLength,
    /// A number that is too large, or too near to zero.
    #[error("The number is out of range.")]
    NumberRange,
    /// Too deep.
    #[error("Arrays and objects are nested deeper than {MAX_DEPTH} levels.")]
    Depth,
    /// Too many elements or members.
    #[error("An array or object has more than {MAX_ELEMENTS} elements.")]
    Elements,
}

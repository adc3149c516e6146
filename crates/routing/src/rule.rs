//! Tests of single properties (`host`, `uri`, …), and of arguments, cookies and header fields by name.

use http::HeaderName;
use untrusted_text::{excerpt, percent};

use crate::Request;
use crate::arguments::{arguments, cookies};
use crate::pattern::{Case, Encoding, PatternError, Patterns, Style};

/// A property that each request has once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// The host, without regard to case.
    Host,
    /// The method. A pattern is converted to upper case, the request's method is not.
    Method,
    /// The whole query, percent-decoded with `+` for a space; empty without a query.
    Query,
    /// The path: [`Target::path`](crate::Target::path).
    Uri,
}

/// A property that a request has any number of times, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// An argument of the query. Names and values are percent-decoded, with `+` for a space, and
    /// case-sensitive.
    Argument,
    /// A cookie. Names and values are not decoded, and case-sensitive.
    Cookie,
    /// A header field. Names and values are compared without regard to case.
    Header,
}

/// Patterns for a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyRule {
    property: Property,
    patterns: Patterns,
}

/// Patterns for the values of one name.
///
/// All values of this name have to match, and at least one has to exist: `"!a"` does not match a request
/// without the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    name: FieldName,
    patterns: Patterns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldName {
    Argument(Box<[u8]>),
    Cookie(Box<[u8]>),
    /// `None` for an invalid name. Unit accepts those, and no request has such a field.
    Header(Option<HeaderName>),
}

/// Why the name of a member is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldNameError {
    /// It is empty.
    #[error("the name of an argument, a cookie or a header field must not be empty")]
    Empty,
    /// The name of an argument has a `%` without its digits.
    #[error(
        "\"{0}\" is not a valid name of an argument: a \"%\" must be followed by two hexadecimal digits; the \
         percent sign is \"%25\""
    )]
    PercentEncoding(String),
}

impl PropertyRule {
    /// A rule without patterns, which matches every request.
    pub fn new(property: Property) -> Self {
        let (case, encoding) = match property {
            Property::Host => (Case::Lower, Encoding::None),
            Property::Method => (Case::Upper, Encoding::None),
            Property::Query => (Case::Sensitive, Encoding::PercentPlus),
            Property::Uri => (Case::Sensitive, Encoding::Percent),
        };
        Self {
            property,
            patterns: Patterns::new(Style { case, encoding }),
        }
    }

    /// Adds one pattern.
    ///
    /// # Errors
    ///
    /// If `text` is not a valid pattern. Then nothing is added.
    pub fn push(&mut self, text: &str) -> Result<(), PatternError> {
        self.patterns.push(text)
    }

    /// The prefix of every matching value; `None` if the rule is about another property.
    pub(crate) fn prefix(&self, property: Property) -> Option<&[u8]> {
        (self.property == property).then(|| self.patterns.prefix())
    }

    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match self.property {
            Property::Host => self.patterns.matches(request.host.as_bytes()),
            Property::Method => self.patterns.matches(request.method.as_bytes()),
            Property::Query => {
                let query = percent::decode_query(request.target.query());
                self.patterns.matches(&query)
            }
            Property::Uri => self.patterns.matches(request.target.path()),
        }
    }
}

impl FieldRule {
    /// A rule without patterns, which matches every request with this field.
    ///
    /// # Errors
    ///
    /// If the name is empty, or an argument's name cannot be decoded.
    pub fn parse(kind: FieldKind, name: &str) -> Result<Self, FieldNameError> {
        if name.is_empty() {
            return Err(FieldNameError::Empty);
        }
        let (case, encoding) = match kind {
            FieldKind::Argument => (Case::Sensitive, Encoding::PercentPlus),
            FieldKind::Cookie => (Case::Sensitive, Encoding::None),
            FieldKind::Header => (Case::Insensitive, Encoding::None),
        };
        let name = match kind {
            FieldKind::Argument => {
                let decoded = percent::decode_form(name.as_bytes());
                let refused = || FieldNameError::PercentEncoding(excerpt(name));
                FieldName::Argument(decoded.ok_or_else(refused)?.into())
            }
            FieldKind::Cookie => FieldName::Cookie(name.as_bytes().into()),
            FieldKind::Header => FieldName::Header(HeaderName::from_bytes(name.as_bytes()).ok()),
        };
        Ok(Self {
            name,
            patterns: Patterns::new(Style { case, encoding }),
        })
    }

    /// Adds one pattern.
    ///
    /// # Errors
    ///
    /// If `text` is not a valid pattern. Then nothing is added.
    pub fn push(&mut self, text: &str) -> Result<(), PatternError> {
        self.patterns.push(text)
    }

    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match &self.name {
            FieldName::Argument(name) => self.all(
                arguments(request.target.query())
                    .filter(|argument| argument.is(name))
                    .map(|argument| argument.value()),
            ),
            FieldName::Cookie(name) => self.all(cookies(request.headers, name)),
            FieldName::Header(Some(name)) => {
                let fields = request.headers.get_all(name).iter();
                self.all(fields.map(http::HeaderValue::as_bytes))
            }
            FieldName::Header(None) => false,
        }
    }

    /// Whether there is at least one value, and all of them match.
    fn all<V: AsRef<[u8]>>(&self, values: impl Iterator<Item = V>) -> bool {
        let mut any = false;
        for value in values {
            any = true;
            if !self.patterns.matches(value.as_ref()) {
                return false;
            }
        }
        any
    }
}

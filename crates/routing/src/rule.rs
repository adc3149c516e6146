use http::HeaderName;

use crate::Request;
use crate::arguments::{arguments, cookies};
use crate::pattern::{Case, Encoding, PatternError, Patterns, Style};
use untrusted_text::{excerpt, percent};

/// What a request has one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// The host, without regard to case.
    Host,
    /// The method. A pattern's is made upper case, the request's is taken as it is.
    Method,
    /// All of the query, decoded, with `+` for a space. Without a query it is empty.
    Query,
    /// The path, as [`Target::path`](crate::Target::path) has it.
    Uri,
}

/// What a request has any number of, by names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// What is in the query. Names and values are decoded, with `+` for a space, and compared with
    /// regard to case.
    Argument,
    /// Names and values are taken as they are, and compared with regard to case.
    Cookie,
    /// Names and values are compared without regard to case.
    Header,
}

/// Patterns for a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyRule {
    property: Property,
    patterns: Patterns,
}

/// A name, and patterns for what has it.
///
/// All values with this name have to match, and there has to be one: `"!a"` does not match a request
/// that lacks the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    name: Name,
    patterns: Patterns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Argument(Box<[u8]>),
    Cookie(Box<[u8]>),
    /// `None` for what cannot be a field's name. Unit accepts that, and no request has it.
    Header(Option<HeaderName>),
}

/// A member's name that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldNameError {
    /// It is empty.
    #[error("the name of an argument, a cookie or a header field is not empty")]
    Empty,
    /// The name of an argument has a `%` without its digits.
    #[error(
        "\"{0}\" is no name of an argument: a \"%\" is followed by two hexadecimal digits, and the \
         percent sign is \"%25\""
    )]
    PercentEncoding(String),
}

impl PropertyRule {
    /// A rule without patterns, which everything matches.
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
    /// When `text` is not a pattern. Then nothing is added.
    pub fn push(&mut self, text: &str) -> Result<(), PatternError> {
        self.patterns.push(text)
    }

    /// What each value that matches begins with, if this is about that property.
    pub(crate) fn beginning(&self, property: Property) -> Option<&[u8]> {
        (self.property == property).then(|| self.patterns.beginning())
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
    /// A rule without patterns, which every request matches that has this field.
    ///
    /// # Errors
    ///
    /// When the name is empty, or an argument's name cannot be decoded.
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
                Name::Argument(decoded.ok_or_else(refused)?.into())
            }
            FieldKind::Cookie => Name::Cookie(name.as_bytes().into()),
            FieldKind::Header => Name::Header(HeaderName::from_bytes(name.as_bytes()).ok()),
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
    /// When `text` is not a pattern. Then nothing is added.
    pub fn push(&mut self, text: &str) -> Result<(), PatternError> {
        self.patterns.push(text)
    }

    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match &self.name {
            Name::Argument(name) => self.all(
                arguments(request.target.query())
                    .filter(|argument| argument.is(name))
                    .map(|argument| argument.value()),
            ),
            Name::Cookie(name) => self.all(cookies(request.headers, name)),
            Name::Header(Some(name)) => {
                let fields = request.headers.get_all(name).iter();
                self.all(fields.map(http::HeaderValue::as_bytes))
            }
            Name::Header(None) => false,
        }
    }

    /// Whether there are values, and all of them match.
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

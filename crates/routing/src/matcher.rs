//! The `match` object of a step: its tests, all of which a request has to pass.

use crate::variable::{VariableKind, Variables};
use crate::{AddressPatterns, Condition, FieldRule, Property, PropertyRule, Request, Scheme};

/// A `match`. A request has to pass all tests; without tests, every request matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    tests: Box<[Test]>,
}

/// One member of a `match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// `if`.
    If(Condition),
    /// `scheme`.
    Scheme(Scheme),
    /// `host`, `method`, `query` or `uri`.
    Property(PropertyRule),
    /// `arguments`, `cookies` or `headers`: an array of objects. A request matches if it matches all members
    /// of one of them. An empty array matches every request, and so does an empty object.
    Fields(Vec<Vec<FieldRule>>),
    /// `source`.
    Source(AddressPatterns),
    /// `destination`.
    Destination(AddressPatterns),
}

impl Match {
    /// The tests, in the order in which they are evaluated. Unit's order is `if`, `scheme`, `host`, `uri`,
    /// `method`, `headers`, `arguments`, `cookies`, `query`, `source`, `destination`; the result does not
    /// depend on it.
    pub fn new(tests: impl IntoIterator<Item = Test>) -> Self {
        Self {
            tests: tests.into_iter().collect(),
        }
    }

    /// Whether it contains a variable of this kind.
    pub fn mentions(&self, kind: VariableKind) -> bool {
        self.tests.iter().any(|test| match test {
            Test::If(condition) => condition.mentions(kind),
            Test::Scheme(_)
            | Test::Property(_)
            | Test::Fields(_)
            | Test::Source(_)
            | Test::Destination(_) => false,
        })
    }

    /// Whether a request matches. The values of variables in an `if` come from `variables`, for which the
    /// request itself suffices if it is about routing variables only.
    ///
    /// Allocates only for a query with escapes, and for an `if` of several pieces.
    pub fn matches<V: Variables + ?Sized>(&self, request: &Request<'_>, variables: &V) -> bool {
        self.tests.iter().all(|test| match test {
            Test::If(condition) => condition.holds(variables),
            Test::Scheme(scheme) => *scheme == request.scheme,
            Test::Property(rule) => rule.matches(request),
            Test::Fields(sets) => {
                let all = |set: &Vec<FieldRule>| set.iter().all(|rule| rule.matches(request));
                sets.is_empty() || sets.iter().any(all)
            }
            Test::Source(patterns) => patterns.matches(request.source),
            Test::Destination(patterns) => patterns.matches(request.destination),
        })
    }

    /// The prefix that the host of every matching request has.
    pub(crate) fn host_prefix(&self) -> &[u8] {
        self.prefix(Property::Host)
    }

    /// The prefix that the path of every matching request has.
    pub(crate) fn uri_prefix(&self) -> &[u8] {
        self.prefix(Property::Uri)
    }

    fn prefix(&self, property: Property) -> &[u8] {
        let prefixes = self.tests.iter().filter_map(|test| match test {
            Test::Property(rule) => rule.prefix(property),
            _ => None,
        });
        prefixes.max_by_key(|it| it.len()).unwrap_or_default()
    }
}

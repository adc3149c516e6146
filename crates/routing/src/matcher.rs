use crate::variable::{VariableKind, Variables};
use crate::{AddressPatterns, Condition, FieldRule, Property, PropertyRule, Request, Scheme};

/// A `match` of a step: all of its tests have to be passed. Without tests every request matches.
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
    /// `arguments`, `cookies` or `headers`: an array of objects, of which one has to match, in all of
    /// its members. No objects match every request, and so does one without members.
    Fields(Vec<Vec<FieldRule>>),
    /// `source`.
    Source(AddressPatterns),
    /// `destination`.
    Destination(AddressPatterns),
}

impl Match {
    /// Takes the tests in the order in which they are made. Unit's is `if`, `scheme`, `host`, `uri`,
    /// `method`, `headers`, `arguments`, `cookies`, `query`, `source`, `destination`; the outcome
    /// does not depend on it.
    pub fn new(tests: impl IntoIterator<Item = Test>) -> Self {
        Self {
            tests: tests.into_iter().collect(),
        }
    }

    /// Whether a variable of this kind is in it.
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

    /// Whether a request matches. `variables` are asked for what is in an `if`; a request knows the
    /// usual ones itself.
    ///
    /// Memory is allocated for an encoded query, and for an `if` of several pieces; otherwise not.
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

    /// What the host of each request that matches begins with.
    pub(crate) fn host(&self) -> &[u8] {
        self.beginning(Property::Host)
    }

    /// What its path begins with.
    pub(crate) fn uri(&self) -> &[u8] {
        self.beginning(Property::Uri)
    }

    fn beginning(&self, property: Property) -> &[u8] {
        let beginnings = self.tests.iter().filter_map(|test| match test {
            Test::Property(rule) => rule.beginning(property),
            _ => None,
        });
        beginnings.max_by_key(|it| it.len()).unwrap_or_default()
    }
}

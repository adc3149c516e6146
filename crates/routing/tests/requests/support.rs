//! A request to ask about, and short ways to write tests down.

use http::{HeaderMap, HeaderName};
use routing::{Endpoint, FieldKind, FieldRule, Match, Property, PropertyRule, Request, Scheme};
use routing::{Target, Test, Variables};

/// `GET / HTTP/1.1` with the host `localhost`, from 127.0.0.1, unless said otherwise.
pub(crate) struct Sample {
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) scheme: Scheme,
    pub(crate) source: Endpoint,
}

impl Sample {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self {
            method: "GET",
            host: "localhost",
            target: target.into(),
            headers: HeaderMap::new(),
            scheme: Scheme::Http,
            source: Endpoint::Ip("127.0.0.1:40000".parse().unwrap()),
        }
    }

    /// With more fields of one name.
    pub(crate) fn with(mut self, name: &str, values: &[&str]) -> Self {
        for value in values {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            self.headers.append(name, value);
        }
        self
    }

    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Request<'_>) -> T) -> T {
        let target = Target::parse(self.target.as_bytes()).unwrap();
        question(&Request {
            scheme: self.scheme,
            method: self.method,
            host: self.host,
            target: &target,
            headers: &self.headers,
            source: self.source,
            destination: Endpoint::Ip("127.0.0.1:8080".parse().unwrap()),
        })
    }

    pub(crate) fn matches(&self, tests: &Match) -> bool {
        self.ask(|request| tests.matches(request, request as &dyn Variables))
    }
}

/// A property with these patterns.
pub(crate) fn property(property: Property, patterns: &[&str]) -> Test {
    let mut rule = PropertyRule::new(property);
    for pattern in patterns {
        rule.push(pattern).unwrap();
    }
    Test::Property(rule)
}

/// An object: names, each with its patterns.
pub(crate) fn object(kind: FieldKind, members: &[(&str, &[&str])]) -> Vec<FieldRule> {
    let rule = |(name, patterns): &(&str, &[&str])| {
        let mut rule = FieldRule::parse(kind, name).unwrap();
        for pattern in *patterns {
            rule.push(pattern).unwrap();
        }
        rule
    };
    members.iter().map(rule).collect()
}

/// A `match` of one object.
pub(crate) fn one_object(kind: FieldKind, members: &[(&str, &[&str])]) -> Match {
    Match::new([Test::Fields(vec![object(kind, members)])])
}

/// The objects by which Unit's own tests show how an array of them decides.
pub(crate) fn array(kind: FieldKind) -> Match {
    Match::new([Test::Fields(vec![
        object(kind, &[("var-a", &["val1*"])]),
        object(kind, &[("var-b", &["val2"])]),
        object(kind, &[("var-c", &["foo", "bar"])]),
        object(kind, &[("var-a", &["bar"]), ("var-d", &["foo"])]),
    ])])
}

//! `match`: the requests that a step applies to.

use routing::{FieldKind, FieldNameError, FieldRule, Match, Property, PropertyRule, Scheme, Test};

use super::error::ConfigError;
use super::schema::{Checker, Kinds, Member};
use super::{patterns, template};
use crate::Value;

const PATTERNS: Kinds = Kinds::STRING.or(Kinds::ARRAY);
const FIELDS: Kinds = Kinds::OBJECT.or(Kinds::ARRAY);

const MEMBERS: &[Member] = &[
    Member::optional("method", PATTERNS),
    Member::optional("scheme", Kinds::STRING),
    Member::optional("host", PATTERNS),
    Member::optional("source", PATTERNS),
    Member::optional("destination", PATTERNS),
    Member::optional("uri", PATTERNS),
    Member::optional("query", PATTERNS),
    Member::optional("arguments", FIELDS),
    Member::optional("headers", FIELDS),
    Member::optional("cookies", FIELDS),
    Member::optional("if", Kinds::STRING),
];

pub(super) fn check<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<Match, ConfigError> {
    let mut tests = Vec::new();
    checker.members(value, &[MEMBERS], |checker, name, value| {
        tests.push(match name {
            "method" => property(checker, name, value, Property::Method)?,
            "host" => property(checker, name, value, Property::Host)?,
            "uri" => property(checker, name, value, Property::Uri)?,
            "query" => property(checker, name, value, Property::Query)?,
            "arguments" => fields(checker, name, value, FieldKind::Argument)?,
            "headers" => fields(checker, name, value, FieldKind::Header)?,
            "cookies" => fields(checker, name, value, FieldKind::Cookie)?,
            "source" => Test::Source(patterns::addresses(checker, value)?),
            "destination" => Test::Destination(patterns::addresses(checker, value)?),
            "scheme" => Test::Scheme(
                Scheme::parse(value.as_str().unwrap_or_default()).ok_or_else(|| {
                    checker.error("The \"scheme\" can either be \"http\" or \"https\".")
                })?,
            ),
            // `if`
            _ => Test::If(template::condition(
                checker,
                value.as_str().unwrap_or_default(),
            )?),
        });
        Ok(())
    })?;
    Ok(Match::new(tests))
}

fn property<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
    property: Property,
) -> Result<Test, ConfigError> {
    let mut rule = PropertyRule::new(property);
    patterns::check(checker, name, value, |text| rule.push(text))?;
    Ok(Test::Property(rule))
}

/// An object of which all members must match, or an array of objects of which one must match.
fn fields<'a>(
    checker: &mut Checker<'a>,
    name: &str,
    value: &'a Value,
    kind: FieldKind,
) -> Result<Test, ConfigError> {
    let mut sets = Vec::new();
    if value.as_object().is_some() {
        sets.push(set(checker, name, value, kind)?);
    } else {
        checker.elements(value, |checker, value| {
            if value.as_object().is_none() {
                let wanted = match kind {
                    FieldKind::Argument => "pattern for \"arguments\" must be an object".to_owned(),
                    _ => format!("patterns for \"{name}\" must be objects"),
                };
                return Err(checker.error(format!("The \"match\" {wanted}.")));
            }
            sets.push(set(checker, name, value, kind)?);
            Ok(())
        })?;
    }
    Ok(Test::Fields(sets))
}

fn set<'a>(
    checker: &mut Checker<'a>,
    what: &str,
    value: &'a Value,
    kind: FieldKind,
) -> Result<Vec<FieldRule>, ConfigError> {
    let mut rules = Vec::new();
    checker.each(value, |checker, name, value| {
        let mut rule = FieldRule::parse(kind, name).map_err(|error| {
            checker.error(match error {
                FieldNameError::Empty => {
                    "The \"match\" pattern objects must not contain empty member names.".to_owned()
                }
                FieldNameError::PercentEncoding(_) => {
                    format!("The \"match\" pattern for \"{what}\" is encoded but is invalid.")
                }
            })
        })?;
        patterns::check(checker, what, value, |text| rule.push(text))?;
        rules.push(rule);
        Ok(())
    })?;
    Ok(rules)
}

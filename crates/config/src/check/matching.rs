//! `match`: the requests that a step applies to.

use routing::{FieldKind, FieldNameError, FieldRule, Match, Property, PropertyRule, Scheme, Test};

use super::checker::Checker;
use super::error::ConfigError;
use super::table::{Form, Items, Map, Member, Regex, Table, Text};
use super::{patterns, template};
use crate::Value;

/// Patterns by name.
const FIELD_SET: Map = Map::of(Form::STRINGS).with_names(Text::NOT_EMPTY);
const FIELDS: &[Form] = &[
    Form::Map(FIELD_SET),
    Form::Array(Items::of(&[Form::Map(FIELD_SET)])),
];

/// Without regard to case.
const SCHEME: Text = Text::matching(Regex::Literal("^[Hh][Tt][Tt][Pp][Ss]?$"));

pub(super) static MATCH: Table = Table::new(
    "match",
    "The requests that a step applies to; all members must match.",
    &[&[
        Member::optional(
            "method",
            Form::STRINGS,
            "Patterns of the method, without regard to case.",
        ),
        Member::optional(
            "scheme",
            &[Form::String(SCHEME)],
            "The scheme of the request, http or https.",
        ),
        Member::optional(
            "host",
            Form::STRINGS,
            "Patterns of the host in lower case, without port and final dot.",
        ),
        Member::optional(
            "source",
            Form::STRINGS,
            "Patterns of the client's address and port, such as 192.0.2.0/24, or unix.",
        ),
        Member::optional(
            "destination",
            Form::STRINGS,
            "Patterns of the server's address and port of the connection, such as *:8080.",
        ),
        Member::optional(
            "uri",
            Form::STRINGS,
            "Patterns of the decoded path, such as /api/*, or ~ and a regular expression; ! negates.",
        ),
        Member::optional(
            "query",
            Form::STRINGS,
            "Patterns of the decoded text after the question mark.",
        ),
        Member::optional(
            "arguments",
            FIELDS,
            "Patterns of the query's arguments by name, of which all must match, or several such objects, of which \
             one must match.",
        ),
        Member::optional(
            "headers",
            FIELDS,
            "Patterns of the request's fields by name, of which all must match, or several such objects, of which \
             one must match; without regard to case.",
        ),
        Member::optional(
            "cookies",
            FIELDS,
            "Patterns of the cookies by name, of which all must match, or several such objects, of which one must \
             match.",
        ),
        Member::optional(
            "if",
            Form::STRING,
            "Expands its variables, and matches if the result is neither empty, 0, false, null nor undefined; a \
             leading ! negates.",
        ),
    ]],
);

pub(super) fn check<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<Match, ConfigError> {
    let mut tests = Vec::new();
    checker.members(value, &MATCH, |checker, name, value| {
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

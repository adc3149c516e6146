//! `routes`: steps with their `match` and `action`.

use routing::Match;

use super::action::{self, ACTION, Action};
use super::checker::Checker;
use super::error::ConfigError;
use super::matching::{self, MATCH};
use super::table::{Form, Items, Kinds, Map, Member, Table};
use crate::Value;

/// An array of steps with their actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name in `pass`. `None` if `routes` is one array without names.
    pub name: Option<String>,
    /// The steps, in order.
    pub steps: routing::Route<Action>,
}

/// One array without a name, or several by name.
pub(super) static ROUTES: &[Form] = &[
    Form::Array(STEPS),
    Form::Map(Map::of(&[Form::Array(STEPS)])),
];

static STEPS: Items = Items::of(&[Form::Object(&STEP)]);

static STEP: Table = Table::new(
    "step",
    "A step of a route; the first that matches a request is taken.",
    &[&[
        Member::optional(
            "match",
            &[Form::Object(&MATCH)],
            "The requests that the step applies to; all by default.",
        ),
        // The check demands it last, so that a misspelt `action` gets its suggestion.
        Member::required_by_owner(
            "action",
            &[Form::Choice(&ACTION)],
            "How the requests are answered.",
        ),
    ]],
);

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Vec<Route>, ConfigError> {
    let mut routes = Vec::new();
    if value.as_array().is_some() {
        routes.push(route(checker, None, value)?);
    } else {
        checker.each(value, |checker, name, value| {
            checker.kind(Some(name), value, Kinds::ARRAY)?;
            routes.push(route(checker, Some(name), value)?);
            Ok(())
        })?;
    }
    Ok(routes)
}

fn route<'a>(
    checker: &mut Checker<'a>,
    name: Option<&str>,
    value: &'a Value,
) -> Result<Route, ConfigError> {
    let mut steps = Vec::new();
    checker.elements(value, |checker, value| {
        steps.push(step(checker, value)?);
        Ok(())
    })?;
    Ok(Route {
        name: name.map(ToOwned::to_owned),
        steps: routing::Route::new(steps),
    })
}

/// Stricter than Unit, which accepts a step without an action, and then fails to apply it.
fn step<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<(Match, Action), ConfigError> {
    if value.as_object().is_none() {
        return Err(checker.error("The \"routes\" array must contain only object values."));
    }
    let (mut tests, mut action) = (Match::default(), None);
    checker.members(value, &STEP, |checker, name, value| {
        match name {
            "match" => tests = matching::check(checker, value)?,
            _ => action = Some(action::check(checker, value)?),
        }
        Ok(())
    })?;
    let Some(action) = action else {
        return checker.at("action", |checker| {
            Err(checker.error("Required parameter \"action\" is missing."))
        });
    };
    Ok((tests, action))
}

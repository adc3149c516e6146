//! `routes`: steps with their `match` and `action`.

use routing::Match;

use super::action::{self, Action};
use super::error::ConfigError;
use super::matching;
use super::schema::{Checker, Kinds, Member};
use crate::Value;

/// An array of steps with their actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name in `pass`. `None` if `routes` is one array without names.
    pub name: Option<String>,
    /// The steps, in order.
    pub steps: routing::Route<Action>,
}

const STEP: &[Member] = &[
    Member::optional("match", Kinds::OBJECT),
    Member::optional("action", Kinds::OBJECT),
];

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
    checker.members(value, &[STEP], |checker, name, value| {
        match name {
            "match" => tests = matching::check(checker, value)?,
            _ => action = Some(action::check(checker, value)?),
        }
        Ok(())
    })?;
    // Checked last, so that a misspelt `action` gets its suggestion.
    let Some(action) = action else {
        return checker.at("action", |checker| {
            Err(checker.error("Required parameter \"action\" is missing."))
        });
    };
    Ok((tests, action))
}

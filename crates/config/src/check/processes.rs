//! `processes`: checked as Unit checks it, so that mistakes are reported here as there. It has no effect.

use super::error::ConfigError;
use super::schema::{Checker, Kinds, Member};
use crate::Value;

const PROCESSES: &[Member] = &[
    Member::optional("spare", Kinds::INTEGER),
    Member::optional("max", Kinds::INTEGER),
    Member::optional("idle_timeout", Kinds::INTEGER),
];

pub(super) fn check<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<(), ConfigError> {
    checker.warn("one process serves all applications, so this has no effect");
    let most = i64::from(i32::MAX);
    if let Value::Number(_) = value {
        return checker.number("processes", value, 1, most).map(drop);
    }
    checker.members(value, &[PROCESSES], |_, _, _| Ok(()))?;
    let mut limit = |name: &'static str, least, most, default| {
        checker.at(name, |checker| {
            value.child(name).map_or(Ok(default), |value| {
                checker.number(name, value, least, most)
            })
        })
    };
    let spare = limit("spare", 0, most, 0)?;
    let max = limit("max", 1, most, 1)?;
    let order = if max < spare {
        checker.at("spare", |checker| {
            Err(checker.error("The \"spare\" number must be less than or equal to \"max\"."))
        })
    } else {
        Ok(())
    };
    order?;
    checker.at("idle_timeout", |checker| {
        let idle = value.child("idle_timeout");
        idle.map_or(Ok(15), |value| {
            checker.number("idle_timeout", value, 0, most / 1000)
        })
    })?;
    Ok(())
}

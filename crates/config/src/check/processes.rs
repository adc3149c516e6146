//! `processes`: checked as Unit checks it, so that mistakes are reported here as there. It has no effect.

use super::checker::Checker;
use super::error::ConfigError;
use super::table::{Form, Interval, Member, Table};
use crate::Value;

pub(super) static PROCESSES: Table = Table::new(
    "processes",
    "The numbers of Unit's processes, without effect.",
    &[&[
        Member::optional(
            "spare",
            &[Form::Integer(SPARE)],
            "Without effect: idle processes that Unit keeps, at most max; 0 by default.",
        ),
        Member::optional(
            "max",
            &[Form::Integer(NUMBER)],
            "Without effect: the largest number of processes of Unit; 1 by default.",
        ),
        Member::optional(
            "idle_timeout",
            &[Form::Integer(IDLE_TIMEOUT)],
            "Without effect: seconds until Unit ends an idle process; 15 by default.",
        ),
    ]],
);

const MOST: i64 = i32::MAX as i64;

/// The number of processes.
pub(super) const NUMBER: Interval = Interval {
    least: 1,
    most: MOST,
};

const SPARE: Interval = Interval {
    least: 0,
    most: MOST,
};

const IDLE_TIMEOUT: Interval = Interval {
    least: 0,
    most: MOST / 1000,
};

pub(super) fn check<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<(), ConfigError> {
    checker.warn("one process serves all applications, so this has no effect");
    if let Value::Number(_) = value {
        return checker.number("processes", value, NUMBER).map(drop);
    }
    checker.members(value, &PROCESSES, |_, _, _| Ok(()))?;
    let mut limit = |name: &'static str, interval, default| {
        checker.at(name, |checker| {
            value
                .child(name)
                .map_or(Ok(default), |value| checker.number(name, value, interval))
        })
    };
    let spare = limit("spare", SPARE, 0)?;
    let max = limit("max", NUMBER, 1)?;
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
            checker.number("idle_timeout", value, IDLE_TIMEOUT)
        })
    })?;
    Ok(())
}

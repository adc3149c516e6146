//! `settings.telemetry`: checked as in a Unit with OpenTelemetry, so that mistakes are reported here as there. It
//! has no effect.

use super::checker::{Checker, is_empty};
use super::error::ConfigError;
use super::table::{Form, Interval, Member, Table, Text};
use crate::Value;

pub(super) static TELEMETRY: Table = Table::new(
    "telemetry",
    "Without effect, since this server sends no traces.",
    &[&[
        Member::required(
            "endpoint",
            Form::STRING,
            "Without effect: where Unit sends traces.",
        ),
        Member::required(
            "protocol",
            &[Form::String(Text::one_of(&PROTOCOLS))],
            "Without effect: the protocol by which Unit sends traces.",
        ),
        Member::optional(
            "batch_size",
            &[Form::Integer(Interval {
                least: 1,
                most: 65536,
            })],
            "Without effect: spans that Unit sends at once.",
        ),
        Member::optional(
            "sampling_ratio",
            &[Form::Number(Interval { least: 0, most: 1 })],
            "Without effect: the part of the requests that Unit traces.",
        ),
    ]],
);

const PROTOCOLS: [&str; 4] = ["http", "HTTP", "grpc", "GRPC"];

pub(super) fn check<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<(), ConfigError> {
    if is_empty(value) {
        return Ok(());
    }
    checker.members(value, &TELEMETRY, |checker, name, value| {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            _ => 0.0,
        };
        let wrong = match name {
            "protocol" if !value.as_str().is_some_and(|it| PROTOCOLS.contains(&it)) => {
                "be \"http\" or \"grpc\""
            }
            "batch_size" if number <= 0.0 => "be greater than 0",
            "batch_size" if number > 65536.0 => "not exceed 65536",
            "sampling_ratio" if !(0.0..=1.0).contains(&number) => "be between 0 and 1",
            _ => return Ok(()),
        };
        Err(checker.error(format!("The \"{name}\" must {wrong}.")))
    })?;
    checker.warn("this server sends no traces, so this has no effect");
    Ok(())
}

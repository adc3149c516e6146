//! `settings.telemetry`: checked as in a Unit with OpenTelemetry, so that mistakes are reported here as there. It
//! has no effect.

use super::error::ConfigError;
use super::schema::{Checker, Kinds, Member, is_empty};
use crate::Value;

const TELEMETRY: &[Member] = &[
    Member::required("endpoint", Kinds::STRING),
    Member::required("protocol", Kinds::STRING),
    Member::optional("batch_size", Kinds::INTEGER),
    Member::optional("sampling_ratio", Kinds::NUMBER),
];

const PROTOCOLS: [&str; 4] = ["http", "HTTP", "grpc", "GRPC"];

pub(super) fn check<'a>(checker: &mut Checker<'a>, value: &'a Value) -> Result<(), ConfigError> {
    if is_empty(value) {
        return Ok(());
    }
    checker.members(value, &[TELEMETRY], |checker, name, value| {
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

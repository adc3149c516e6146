//! Patterns: one, or an array of them.

use routing::{AddressPatternErrorKind, AddressPatterns, PatternError, PatternErrorKind};

use super::checker::Checker;
use super::error::ConfigError;
use crate::Value;

/// Calls `push` for each pattern of `value`. Messages name the property `what`.
pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    what: &str,
    value: &'a Value,
    mut push: impl FnMut(&str) -> Result<(), PatternError>,
) -> Result<(), ConfigError> {
    one_or_several(checker, value, |checker, value| {
        let text = value.as_str().ok_or_else(|| {
            // Unit's messages, which differ from each other.
            let wanted = match what {
                "uri" | "query" | "arguments" => "a string",
                _ => "strings",
            };
            checker.error(format!(
                "The \"match\" pattern for \"{what}\" must be {wanted}."
            ))
        })?;
        push(text).map_err(|error| refused(checker, what, &error))
    })
}

/// Patterns for addresses.
pub(super) fn addresses<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<AddressPatterns, ConfigError> {
    let mut patterns = AddressPatterns::new();
    one_or_several(checker, value, |checker, value| {
        let text = value.as_str().ok_or_else(|| {
            checker.error("The \"match\" pattern for \"address\" must be a string.")
        })?;
        patterns.push(text).map_err(|error| {
            checker.error(match error.kind {
                AddressPatternErrorKind::TooShort => "The \"address\" is too short.",
                AddressPatternErrorKind::Ipv4
                | AddressPatternErrorKind::Ipv6
                | AddressPatternErrorKind::Brackets => "The \"address\" format is invalid.",
                AddressPatternErrorKind::Prefix(_) => "The \"address\" has an invalid CIDR prefix.",
                AddressPatternErrorKind::Range => "The \"address\" range is overlapping.",
                AddressPatternErrorKind::Port => "The \"address\" port an invalid port.",
            })
        })
    })?;
    Ok(patterns)
}

pub(super) fn one_or_several<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
    mut check: impl FnMut(&mut Checker<'a>, &'a Value) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    if value.as_array().is_some() {
        checker.elements(value, check)
    } else {
        check(checker, value)
    }
}

fn refused(checker: &Checker<'_>, what: &str, error: &PatternError) -> ConfigError {
    checker.error(match &error.kind {
        PatternErrorKind::DoubleWildcard => {
            "The \"match\" pattern must not contain double \"*\" markers.".to_owned()
        }
        PatternErrorKind::PercentEncoding => {
            format!("The \"match\" pattern for \"{what}\" is encoded but is invalid.")
        }
        PatternErrorKind::Regex(why) => format!("Invalid regular expression: {why}"),
        PatternErrorKind::RegexSize => format!(
            "Invalid regular expression: it takes more than {} bytes once it is compiled",
            routing::MAX_REGEX_SIZE
        ),
    })
}

//! `instances`: how many requests an instance serves.

use std::num::NonZeroU32;

use super::checker::Checker;
use super::error::ConfigError;
use super::table::{Form, Interval, Kinds, Member, Table};
use crate::{Value, bounds};

/// The requests that an instance of a component serves. One by default, so that requests share no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// The number of requests before the instance is destroyed.
    pub reuse: NonZeroU32,
    /// The number of requests at the same time; not more than `reuse`.
    pub concurrency: NonZeroU32,
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            reuse: NonZeroU32::MIN,
            concurrency: NonZeroU32::MIN,
        }
    }
}

impl Instances {
    /// Checks a value outside of a configuration in the same way as `instances` of an application.
    ///
    /// # Errors
    ///
    /// The first error, and its path in `value`.
    ///
    /// ```
    /// let value = config::parse(br#"{"reuse": 100, "concurrency": 4}"#)?;
    /// assert_eq!(config::Instances::check(&value)?.reuse.get(), 100);
    ///
    /// let value = config::parse(br#"{"reuse": 0}"#)?;
    /// let error = config::Instances::check(&value).unwrap_err();
    /// assert_eq!(error.path.to_string(), "/reuse");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(value: &Value) -> Result<Self, ConfigError> {
        let mut checker = Checker::new(value);
        checker.kind(Some("instances"), value, Kinds::OBJECT)?;
        check(&mut checker, value)
    }
}

pub(super) static INSTANCES: Table = Table::new(
    "instances",
    "How many requests an instance serves; more than one gives up their isolation from each other.",
    &[&[
        Member::optional(
            "reuse",
            &[Form::Integer(Interval::of(&bounds::INSTANCE_REUSE))],
            "Requests that an instance serves before it is destroyed; 1 by default.",
        ),
        Member::optional(
            "concurrency",
            &[Form::Integer(Interval::of(&bounds::INSTANCE_CONCURRENCY))],
            "Requests that an instance serves at the same time, at most reuse; 1 by default.",
        ),
    ]],
);

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Instances, ConfigError> {
    let mut instances = Instances::default();
    checker.members(value, &INSTANCES, |checker, name, value| {
        match name {
            "reuse" => instances.reuse = checker.whole(name, value, &bounds::INSTANCE_REUSE)?,
            _ => {
                let bounds = &bounds::INSTANCE_CONCURRENCY;
                instances.concurrency = checker.whole(name, value, bounds)?;
            }
        }
        Ok(())
    })?;
    if instances.concurrency > instances.reuse {
        return checker.at("concurrency", |checker| {
            Err(checker.error(format!(
                "The \"concurrency\" number must be less than or equal to \"reuse\", which is {}.",
                instances.reuse
            )))
        });
    }
    Ok(instances)
}

//! `limits`: what one request may take.

use std::num::NonZeroU32;
use std::time::Duration;

use super::error::ConfigError;
use super::schema::{Checker, Kinds, Member};
use crate::{Value, bounds};

/// What ends a request that goes too far. `None` is for the server to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How long a response may take to start, in whole seconds. [`Duration::MAX`], from a `timeout`
    /// of 0, is no limit, as in Unit.
    pub timeout: Option<Duration>,
    /// How long the guest may compute. [`Duration::MAX`], from 0, is no limit.
    pub execution_timeout: Option<Duration>,
    /// Bytes of all memories and tables of one instance.
    pub memory: Option<u64>,
    /// Requests of the application in progress at a time.
    pub concurrency: Option<NonZeroU32>,
    /// Files that an instance may have open at a time.
    pub files: Option<u32>,
    /// How much the application may have of what all share, compared with others.
    pub weight: Option<NonZeroU32>,
}

const LIMITS: &[Member] = &[
    Member::optional("timeout", Kinds::INTEGER),
    Member::optional("execution_timeout", Kinds::NUMBER),
    Member::optional("memory", Kinds::INTEGER),
    Member::optional("concurrency", Kinds::INTEGER),
    Member::optional("files", Kinds::INTEGER),
    Member::optional("weight", Kinds::INTEGER),
    Member::optional("requests", Kinds::INTEGER),
    Member::optional("shm", Kinds::INTEGER),
];

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    checker.members(value, &[LIMITS], |checker, name, value| {
        match name {
            "timeout" => {
                let seconds = checker.number(name, value, 0, bounds::TIMEOUT.most.into())?;
                limits.timeout = Some(match u64::try_from(seconds) {
                    Ok(0) | Err(_) => Duration::MAX,
                    Ok(seconds) => Duration::from_secs(seconds),
                });
            }
            "execution_timeout" => {
                let time = checker.seconds(name, value, &bounds::EXECUTION_TIMEOUT)?;
                limits.execution_timeout = Some(time);
            }
            "memory" => limits.memory = Some(checker.whole(name, value, &bounds::MEMORY)?),
            "concurrency" => {
                limits.concurrency = Some(checker.whole(name, value, &bounds::CONCURRENCY)?);
            }
            "files" => limits.files = Some(checker.whole(name, value, &bounds::FILES)?),
            "weight" => limits.weight = Some(checker.whole(name, value, &bounds::WEIGHT)?),
            "requests" => checker
                .warn("no process is replaced after a number of requests, so this has no effect"),
            _ => checker.warn("no memory is shared with other processes, so this has no effect"),
        }
        Ok(())
    })?;
    Ok(limits)
}

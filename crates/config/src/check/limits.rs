//! `limits` of an application.

use std::num::NonZeroU32;
use std::time::Duration;

use super::error::ConfigError;
use super::schema::{Checker, Kinds, Member};
use crate::{Value, bounds};

/// The limits of an application. `None` is the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The time until a response starts, in whole seconds. As in Unit, 0 means unlimited: [`Duration::MAX`].
    pub timeout: Option<Duration>,
    /// The CPU time of the guest. 0 means unlimited: [`Duration::MAX`].
    pub execution_timeout: Option<Duration>,
    /// The memories and tables of one instance together, in bytes.
    pub memory: Option<u64>,
    /// The requests of the application in progress.
    pub concurrency: Option<NonZeroU32>,
    /// The open files of an instance.
    pub files: Option<u32>,
    /// The application's share of shared resources, relative to others.
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

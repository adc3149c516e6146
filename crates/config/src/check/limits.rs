//! `limits` of an application.

use std::num::NonZeroU32;
use std::time::Duration;

use super::checker::Checker;
use super::error::ConfigError;
use super::table::{Form, Interval, Member, Table};
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

pub(super) static LIMITS: Table = Table::new(
    "limits",
    "The limits of one request, and of the application.",
    &[&[
        Member::optional(
            "timeout",
            &[Form::Integer(TIMEOUT)],
            "Seconds from a request's header section to the start of its response; 30 by default, and 0 for no limit.",
        ),
        Member::optional(
            "execution_timeout",
            &[Form::Seconds(bounds::EXECUTION_TIMEOUT)],
            "Seconds that a guest may compute for a request, with or without a fraction; 10 by default, and 0 for no \
             limit.",
        ),
        Member::optional(
            "memory",
            &[Form::Integer(Interval::of(&bounds::MEMORY))],
            "Bytes of all memories and tables of one instance together; 268435456 (256 MiB) by default.",
        ),
        Member::optional(
            "concurrency",
            &[Form::Integer(Interval::of(&bounds::CONCURRENCY))],
            "Requests of the application in progress; by default, its share of the server's instances.",
        ),
        Member::optional(
            "files",
            &[Form::Integer(Interval::of(&bounds::FILES))],
            "Open files and folders of one instance; 64 by default.",
        ),
        Member::optional(
            "weight",
            &[Form::Integer(Interval::of(&bounds::WEIGHT))],
            "The application's part of what applications share, relative to others; 1 by default.",
        ),
        Member::optional(
            "requests",
            Form::INTEGER,
            "Without effect, since no process is replaced after a number of requests.",
        ),
        Member::optional(
            "shm",
            Form::INTEGER,
            "Without effect, since no memory is shared between processes.",
        ),
    ]],
);

const TIMEOUT: Interval = Interval {
    least: 0,
    most: bounds::TIMEOUT.most as i64,
};

pub(super) fn check<'a>(
    checker: &mut Checker<'a>,
    value: &'a Value,
) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    checker.members(value, &LIMITS, |checker, name, value| {
        match name {
            "timeout" => {
                let seconds = checker.number(name, value, TIMEOUT)?;
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

//! What all forms of lines have in common: their bounds, and the names of levels.

use tracing::{Level, Metadata};

use crate::NOTICE;

/// Bytes of a line's message. A piece of 8 KiB of a guest's output fits, unless more than a
/// fifth of it is escaped, or half of it is not UTF-8.
pub(crate) const MAX_MESSAGE: usize = 16 * 1024;

/// Bytes of all other fields of an event together.
pub(crate) const MAX_FIELDS: usize = 2 * 1024;

/// Characters of an application's name; a configuration may have one of megabytes.
pub(crate) const MAX_NAME: usize = 128;

/// A level as lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Severity {
    pub(crate) name: &'static str,
    /// The number of syslog (RFC 5424, section 6.2.1).
    pub(crate) priority: u8,
}

impl Severity {
    /// That of an event, which may be a [`NOTICE`].
    pub(crate) fn of(event: &Metadata<'_>) -> Self {
        match *event.level() {
            Level::INFO if event.target().ends_with(NOTICE) => Self {
                name: "notice",
                priority: 5,
            },
            level => level.into(),
        }
    }
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        let (name, priority) = match level {
            Level::ERROR => ("error", 3),
            Level::WARN => ("warn", 4),
            Level::INFO => ("info", 6),
            Level::DEBUG => ("debug", 7),
            Level::TRACE => ("trace", 7),
        };
        Self { name, priority }
    }
}

//! The files that shares have open, of all listeners together.

use std::time::Duration;

use static_files::OpenFiles;
use unit_log::LogInterval;

/// The log says at most this often that there are too many.
const FILES_WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A limit on the files that shares have open, and the interval of its warning.
pub(crate) struct ShareFiles {
    pub(crate) open: OpenFiles,
    exhausted: LogInterval,
}

impl ShareFiles {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            open: OpenFiles::new(limit),
            exhausted: LogInterval::new(FILES_WARNING_INTERVAL),
        }
    }

    /// A file was not served for the limit.
    pub(crate) fn warn_exhausted(&self) {
        if self.exhausted.is_due() {
            tracing::warn!(
                "limit on open files of shares ({}) reached; answering 503",
                self.open.limit()
            );
        }
    }
}

//! Counts of lines that were discarded, and when the log reports them.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

/// How long losses are added up before they are reported: one line of the log per second and source at most.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// Counts lines that were discarded, and reports them once per second while there are new ones. What is left is
/// reported when this is dropped.
pub(crate) struct LossCounter(Arc<UnreportedLosses>);

struct UnreportedLosses {
    lines: AtomicU64,
    /// Whether a task waits to report.
    has_reporter: AtomicBool,
    report: Box<dyn Fn(u64) + Send + Sync>,
}

impl LossCounter {
    /// `report` gets the number of lines that were lost since it was last called, never 0.
    pub(crate) fn new(report: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(UnreportedLosses {
            lines: AtomicU64::new(0),
            has_reporter: AtomicBool::new(false),
            report: Box::new(report),
        }))
    }

    pub(crate) fn add(&self, lines: u64) {
        self.0.lines.fetch_add(lines, Ordering::Relaxed);
        if self.0.has_reporter.swap(true, Ordering::AcqRel) {
            return;
        }
        // Without a runtime, the next loss within one or the drop reports these.
        let Ok(runtime) = Handle::try_current() else {
            self.0.has_reporter.store(false, Ordering::Release);
            return;
        };
        let losses = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            tokio::time::sleep(REPORT_AFTER).await;
            if let Some(losses) = losses.upgrade() {
                // Before the number is taken: a line that is counted after that starts the next task.
                losses.has_reporter.store(false, Ordering::Release);
                losses.report();
            }
        });
    }
}

#[cfg(test)]
impl LossCounter {
    /// Lines that have not been reported.
    pub(crate) fn count(&self) -> u64 {
        self.0.lines.load(Ordering::Relaxed)
    }
}

impl Drop for LossCounter {
    fn drop(&mut self) {
        self.0.report();
    }
}

impl UnreportedLosses {
    fn report(&self) {
        let lines = self.lines.swap(0, Ordering::AcqRel);
        if lines > 0 {
            (self.report)(lines);
        }
    }
}

/// Why a line was discarded.
#[derive(Debug)]
pub(super) enum LossReason {
    /// The file is not open.
    Closed,
    /// Too much waits to be written already.
    QueueFull,
    /// `write(2)` failed.
    Write(io::Error),
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the file is not open"),
            Self::QueueFull => f.write_str("write queue full"),
            Self::Write(error) => write!(f, "write failed: {error}"),
        }
    }
}

/// The losses of one file.
pub(super) struct FileLosses {
    /// Of the last line that was discarded.
    reason: Arc<Mutex<LossReason>>,
    counter: LossCounter,
}

impl FileLosses {
    pub(super) fn new(path: &Path) -> Self {
        let reason = Arc::new(Mutex::new(LossReason::Closed));
        let counter = LossCounter::new({
            let (path, reason) = (path.to_owned(), Arc::clone(&reason));
            move |lines| {
                let (path, reason) = (path.display(), reason.lock());
                tracing::warn!("{path}: {lines} lines of output discarded: {reason}");
            }
        });
        Self { reason, counter }
    }

    pub(super) fn add(&self, lines: u64, reason: LossReason) {
        *self.reason.lock() = reason;
        self.counter.add(lines);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.counter.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    #[test]
    fn many_losses_are_reported_once_and_the_last_ones_at_the_end() {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let losses = LossCounter::new({
            let reports = Arc::clone(&reports);
            move |lines| reports.lock().push(lines)
        });
        let runtime = runtime();
        runtime.block_on(async {
            for _ in 0..100 {
                losses.add(1);
            }
            tokio::time::sleep(REPORT_AFTER / 2).await;
            assert_eq!(*reports.lock(), [0; 0]);
            tokio::time::sleep(REPORT_AFTER).await;
            assert_eq!(*reports.lock(), [100]);
            losses.add(1);
        });
        // The runtime ends before the task does.
        drop(runtime);
        drop(losses);
        assert_eq!(*reports.lock(), [100, 1]);
    }

    #[test]
    fn without_a_runtime_and_without_losses_nothing_fails() {
        let reported = Arc::new(AtomicU64::new(0));
        let counter = || {
            let reported = Arc::clone(&reported);
            LossCounter::new(move |lines| {
                reported.fetch_add(lines, Ordering::Relaxed);
            })
        };
        drop(counter());
        assert_eq!(reported.load(Ordering::Relaxed), 0);
        let losses = counter();
        losses.add(1);
        losses.add(1);
        drop(losses);
        assert_eq!(reported.load(Ordering::Relaxed), 2);
    }
}

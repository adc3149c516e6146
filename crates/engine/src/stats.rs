use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

use crate::sandbox::memory::Holdings;
use crate::{Failure, FailureKind};

/// What an application has come to since it was made.
///
/// Read while requests go on, so that numbers of one moment may differ by those that come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Instances that exist now, those that wait for their next request included.
    pub instances: u64,
    /// Instances that were started.
    pub instances_started: u64,
    /// Linear memories and tables of all instances that exist now, in bytes.
    pub memory: u64,
    /// The most that this has ever been.
    pub peak_memory: u64,
    /// Files that guests have open, and connections of their outgoing requests, idle ones included.
    pub files: u64,
    /// How long guests have computed, over all turns that are over. A guest's turn ends when it
    /// waits, and after some milliseconds.
    pub execution_time: Duration,
    /// Responses that broke off after their heads had been sent.
    pub cut_off: u64,
    answers: [u64; CLASSES.len()],
    failures: [u64; FailureKind::ALL.len()],
}

impl Figures {
    /// Requests by the class of the status that they were answered with, by their guests or for
    /// them; the last is for statuses beyond 599.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.into_iter().zip(self.answers)
    }

    /// Failures by kind, those after a response included. Several may have come of one request.
    pub fn failures(&self) -> impl Iterator<Item = (FailureKind, u64)> {
        FailureKind::ALL.into_iter().zip(self.failures)
    }
}

/// Classes of statuses. A response of 1xx is a failure, and so 500.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];

/// What an application counts. Each is one relaxed addition: numbers need not agree with each
/// other at any moment.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    nanoseconds: AtomicU64,
    cut_off: AtomicU64,
    answers: [AtomicU64; CLASSES.len()],
    failures: [AtomicU64; FailureKind::ALL.len()],
}

impl Counters {
    /// A guest has had a turn.
    pub(crate) fn computed(&self, took: Duration) {
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    /// A request is answered.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2);
        self.answers[class.min(CLASSES.len() - 1)].fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        self.count(failure.kind());
    }

    /// A response is cut off: because its guest has failed, or else because it was broken.
    pub(crate) fn cut_off(&self, failure: Option<&Failure>) {
        self.cut_off.fetch_add(1, Relaxed);
        self.count(failure.map_or(FailureKind::Broken, Failure::kind));
    }

    fn count(&self, kind: FailureKind) {
        self.failures[kind as usize].fetch_add(1, Relaxed);
    }

    /// All that is counted, here and there.
    pub(crate) fn figures(&self, holdings: &Holdings) -> Figures {
        Figures {
            instances: holdings.instances(),
            instances_started: holdings.instances_started(),
            memory: holdings.memory(),
            peak_memory: holdings.peak_memory(),
            files: holdings.descriptors().used(),
            execution_time: Duration::from_nanos(self.nanoseconds.load(Relaxed)),
            cut_off: self.cut_off.load(Relaxed),
            answers: self.answers.each_ref().map(|count| count.load(Relaxed)),
            failures: self.failures.each_ref().map(|count| count.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::sandbox::open_files::{DescriptorBudget, Descriptors};

    #[test]
    fn answers_are_counted_by_class() {
        let counters = Counters::default();
        let all = DescriptorBudget::new(Budget::fair(0));
        let descriptors = Descriptors::new(all, 1);
        let holdings = Holdings::new(Budget::fair(0), descriptors, 1);
        for status in [200, 204, 301, 404, 500, 599, 600, 999] {
            counters.answered(StatusCode::from_u16(status).unwrap());
        }
        let answers: Vec<_> = counters.figures(&holdings).answers().collect();
        assert_eq!(
            answers,
            [("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 2), ("other", 2)]
        );
    }
}

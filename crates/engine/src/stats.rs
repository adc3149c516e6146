//! What an application has counted: requests, failures, computing, instances, memory, files.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

use crate::sandbox::application_memory::ApplicationMemory;
use crate::sandbox::descriptors::Descriptors;
use crate::{Failure, FailureKind};

/// Statistics of an application since it was made.
///
/// The numbers are not read at one moment: while requests are in progress, they need not add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplicationStats {
    /// Instances that exist now, idle ones included.
    pub instances: u64,
    /// Instances that have been made.
    pub instances_started: u64,
    /// Linear memories and tables of all instances now, in bytes.
    pub memory: u64,
    /// The highest value of `memory` so far, in bytes.
    pub peak_memory: u64,
    /// Open files of guests and connections of their outgoing requests now, idle ones included.
    pub files: u64,
    /// Processor time of guests, of all turns that have ended. A turn ends when the guest waits, and after some
    /// milliseconds.
    pub execution_time: Duration,
    /// Responses that were cut off after their heads had been sent.
    pub cut_off: u64,
    answers: [u64; CLASSES.len()],
    failures: [u64; FailureKind::ALL.len()],
}

impl ApplicationStats {
    /// Requests by the class of their status, set by the guest or by [`Failure::answer`]; the last class is for
    /// statuses above 599.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.into_iter().zip(self.answers)
    }

    /// Failures by kind, including those after a response. One request may have several.
    pub fn failures(&self) -> impl Iterator<Item = (FailureKind, u64)> {
        FailureKind::ALL.into_iter().zip(self.failures)
    }
}

/// Classes of statuses. There is no 1xx: a guest that sets one gets 500.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];

/// The counters of an application. Each event is one relaxed addition.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    nanoseconds: AtomicU64,
    cut_off: AtomicU64,
    answers: [AtomicU64; CLASSES.len()],
    failures: [AtomicU64; FailureKind::ALL.len()],
}

impl Counters {
    /// A turn of a guest has ended.
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

    /// A response is cut off, by a failure of its guest, or else because its body is broken.
    pub(crate) fn cut_off(&self, failure: Option<&Failure>) {
        self.cut_off.fetch_add(1, Relaxed);
        self.count(failure.map_or(FailureKind::Broken, Failure::kind));
    }

    fn count(&self, kind: FailureKind) {
        self.failures[kind as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn stats(
        &self,
        memory: &ApplicationMemory,
        descriptors: &Descriptors,
    ) -> ApplicationStats {
        ApplicationStats {
            instances: memory.instances(),
            instances_started: memory.instances_started(),
            memory: memory.used(),
            peak_memory: memory.peak(),
            files: descriptors.used(),
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
    use crate::sandbox::descriptors::DescriptorBudget;

    #[test]
    fn answers_are_counted_by_class() {
        let counters = Counters::default();
        let all = DescriptorBudget::new(Budget::fair(0));
        let descriptors = Descriptors::new(all, 1);
        let memory = ApplicationMemory::new(Budget::fair(0), 1);
        for status in [200, 204, 301, 404, 500, 599, 600, 999] {
            counters.answered(StatusCode::from_u16(status).unwrap());
        }
        let answers: Vec<_> = counters.stats(&memory, &descriptors).answers().collect();
        assert_eq!(
            answers,
            [("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 2), ("other", 2)]
        );
    }
}

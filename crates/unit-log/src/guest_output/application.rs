//! What the guests of one application share when they print: where to, how much, and how many lines are lost.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::rate::{self, OutputRate};
use crate::line_owner::StandardStream;
use crate::output_file::{LossCounter, OutputFile};

/// Where one standard stream of an application's guests goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Each line becomes one of the server's log, with application and request. Control characters are
    /// escaped, so that a guest cannot forge or colour lines.
    #[default]
    Log,
    /// The bytes are appended to a file, unescaped.
    File(OutputFile),
}

/// Output of all guests of one application.
pub struct ApplicationOutput {
    pub(super) application: Arc<str>,
    stdout: Output,
    stderr: Output,
    rate: Mutex<OutputRate>,
    pub(super) losses: LossCounter,
}

impl ApplicationOutput {
    /// `application` is the name that the log has for it.
    #[must_use]
    pub fn new(application: &Arc<str>, stdout: Output, stderr: Output) -> Arc<Self> {
        let name = Arc::clone(application);
        let losses = LossCounter::new(move |lines| {
            tracing::warn!(
                application = &*name,
                "{lines} lines of output discarded: output limit of an application ({} KiB per second) exceeded",
                rate::BYTES_PER_SECOND / 1024
            );
        });
        Arc::new(Self {
            application: Arc::clone(application),
            stdout,
            stderr,
            rate: Mutex::default(),
            losses,
        })
    }

    pub(super) fn output(&self, stream: StandardStream) -> &Output {
        match stream {
            StandardStream::Stdout => &self.stdout,
            StandardStream::Stderr => &self.stderr,
        }
    }

    /// Whether the rate limit admits a line of this length. If not, the caller counts it as lost.
    pub(super) fn admits(&self, now: Instant, bytes: usize) -> bool {
        self.rate.lock().admits(now, bytes)
    }
}

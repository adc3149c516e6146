//! What the guests of one application print to, together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::rate::{self, Rate};
use crate::line_owner::Stream;
use crate::output_file::{Losses, OutputFile};

/// Where one standard stream of an application's guests goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Each line becomes one of the server's log, with application and request; what could forge or
    /// colour lines is escaped.
    #[default]
    Log,
    /// The bytes are appended to a file as they are.
    File(OutputFile),
}

/// What the guests of one application share when they print.
pub struct Printing {
    pub(super) application: Arc<str>,
    stdout: Output,
    stderr: Output,
    rate: Mutex<Rate>,
    pub(super) losses: Losses,
}

impl Printing {
    /// Of the guests of `application`, whose two streams go there.
    #[must_use]
    pub fn new(application: &Arc<str>, stdout: Output, stderr: Output) -> Arc<Self> {
        let name = Arc::clone(application);
        let losses = Losses::new(move |lines| {
            tracing::warn!(
                application = &*name,
                "{lines} lines of output were lost: guests print more than {} KiB per second",
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

    pub(super) fn output(&self, stream: Stream) -> &Output {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// Whether a line of this length may go on. If not, it is to be counted as lost.
    pub(super) fn admits(&self, now: Instant, bytes: usize) -> bool {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.admits(now, bytes)
    }
}

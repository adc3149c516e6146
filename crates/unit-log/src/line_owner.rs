//! The request and stream that a line of a guest belongs to.

use crate::RequestId;

/// A stream that a guest prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandardStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl StandardStream {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Pieces of a line are joined only if their owner is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineOwner {
    pub(crate) request: RequestId,
    pub(crate) stream: StandardStream,
}

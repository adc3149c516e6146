//! Files that lines are appended to without blocking a thread that serves requests: guest output and access logs.
//!
//! Bounded in bytes, for each file and for all. Lines beyond that, and those that a file does not take, are discarded,
//! counted, and reported in the log once per second.

mod files;
mod losses;
mod queue;

pub use files::{OutputError, OutputFile, OutputFiles};
pub(crate) use losses::LossCounter;

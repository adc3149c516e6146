//! Files that lines are appended to without making any thread that serves wait: what guests print, and access logs.

mod files;
mod losses;
mod queue;

pub use files::{OutputError, OutputFile, OutputFiles};
pub(crate) use losses::Losses;

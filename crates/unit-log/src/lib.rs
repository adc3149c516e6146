//! Unit's log lines, of [`tracing`] events: one line an event, whatever its text was made of, and no more
//! of them than [`RateLimit`] allows.

mod lines;
mod rate_limit;
mod text;

pub use lines::Lines;
pub use rate_limit::RateLimit;

use tracing::Level;
use tracing_subscriber::filter::Targets;

/// What is logged: events of the crates in `own` from `level` on, and those of libraries from a
/// warning on.
#[must_use]
pub fn targets(own: &[&str], level: Level) -> Targets {
    let libraries = Targets::new().with_default(Level::WARN.min(level));
    own.iter()
        .fold(libraries, |targets, own| targets.with_target(*own, level))
}

/// The end of the target of events that are notices: more than an information and less than a warning,
/// for which `tracing` has no level of its own.
pub const NOTICE: &str = "::notice";

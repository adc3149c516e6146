//! Unit's log lines, of [`tracing`] events: one line an event, whatever its text was made of, and no more
//! of them than [`RateLimit`] and [`LogInterval`] allow. Opens no file.

mod bucket;
mod interval;
mod lines;
mod rate_limit;
mod text;
mod write;

pub use bucket::TokenBucket;
pub use interval::LogInterval;
pub use lines::Lines;
pub use rate_limit::RateLimit;
pub use text::{BoundedText, Escaped, needs_escape};
pub use write::write_all;

use tracing::Level;
use tracing_subscriber::filter::Targets;

/// What is logged: events of the crates in `own` and of this one from `level` on, and those of libraries from a
/// warning on.
#[must_use]
pub fn targets(own: &[&str], level: Level) -> Targets {
    let libraries = Targets::new().with_default(Level::WARN.min(level));
    // The reports of omitted lines have the level of what was omitted.
    let own = own.iter().chain(&[env!("CARGO_CRATE_NAME")]);
    own.fold(libraries, |targets, own| targets.with_target(*own, level))
}

/// The end of the target of events that are notices: more than an information and less than a warning,
/// for which `tracing` has no level of its own.
pub const NOTICE: &str = "::notice";

//! Log lines in Unit's format, or as JSON: each [`tracing`] event becomes one line, with control characters escaped,
//! within the limits of [`RateLimit`] and [`LogInterval`]. Also the output of guests, to the log or to files.
//!
//! The daemon and the language module open the log. Guests and the engine are not known here.

mod bucket;
mod guest_output;
mod interval;
mod json;
mod limits;
mod line_owner;
mod lines;
mod output_file;
mod rate_limit;
mod request_id;
mod text;
mod write;

pub use bucket::TokenBucket;
pub use guest_output::{ApplicationOutput, CurrentRequest, GuestLines, Output};
pub use interval::LogInterval;
pub use line_owner::StandardStream;
pub use lines::Lines;
pub use output_file::{OutputError, OutputFile, OutputFiles};
pub use rate_limit::RateLimit;
pub use request_id::RequestId;
pub use text::{BoundedText, Escaped, needs_escape};
pub use write::write_all;

use tracing::Level;
use tracing_subscriber::filter::Targets;

/// The crates of this project that log. The targets of their events begin with these names.
const OWN_CRATES: [&str; 12] = [
    "code_cache",
    "control",
    "engine",
    "nxt_wasmtime",
    "outbound",
    "proxy",
    "server",
    "sockets",
    "static_files",
    "unit_app",
    "unit_log",
    "wasmtime_unitd",
];

/// The filter by level: events of this project's crates from `level` on, those of libraries from `warn` on.
#[must_use]
pub fn targets(level: Level) -> Targets {
    let libraries = Targets::new().with_default(Level::WARN.min(level));
    OWN_CRATES
        .into_iter()
        .fold(libraries, |targets, own| targets.with_target(own, level))
}

/// The suffix of the targets of events at the level `notice`, which is between `info` and `warn` and which `tracing`
/// does not have.
pub const NOTICE: &str = "::notice";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_crate_of_the_project_that_logs_is_in_the_list() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut logging = Vec::new();
        for folder in fs::read_dir(crates).unwrap() {
            let folder = folder.unwrap();
            let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
            let dependencies = manifest.split_once("\n[dependencies]\n");
            let dependencies = dependencies.map_or("", |(_, rest)| rest);
            let dependencies = dependencies.split("\n[").next().unwrap();
            if dependencies
                .lines()
                .any(|line| line.starts_with("tracing."))
            {
                let name = folder.file_name().into_string().unwrap();
                logging.push(name.replace('-', "_"));
            }
        }
        logging.sort_unstable();
        assert_eq!(logging, OWN_CRATES);
    }
}

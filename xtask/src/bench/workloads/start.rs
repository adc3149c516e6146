//! Starts without compiling.

use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

use super::super::{Built, Options};
use super::{Findings, ours};
use crate::toolchains;

/// From the start of the process to the first answer, of a component that has been seen before.
pub(super) fn run(built: &Built, options: Options) -> Result<Findings> {
    let mut remarks = Vec::new();
    let components = [
        ("Python", toolchains::python_component()?),
        ("Rust", built.guest("hello")),
    ];
    for (name, component) in components {
        let cache = TempDir::new()?;
        let folder = cache.path().join("compiled").display().to_string();
        let flags = ["--cachedir", &folder];
        let mut times = Vec::new();
        // The first start compiles.
        for round in 0..=options.rounds {
            options.progress("start", round, name);
            let begun = Instant::now();
            let server = ours(built, &component, &flags, &[])?;
            times.push(begun.elapsed());
            drop(server);
        }
        let first = times.remove(0);
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or(Duration::MAX);
        let verdict = if median <= Duration::from_millis(150) {
            "reached"
        } else {
            "**not reached**"
        };
        remarks.push(format!(
            "- first answer of a component in {name} after {:.0} ms (compiled: {:.0} ms); wanted: at \
             most 150 ms: {verdict}",
            median.as_secs_f64() * 1e3,
            first.as_secs_f64() * 1e3
        ));
    }
    Ok(Findings {
        remarks,
        ..Findings::default()
    })
}

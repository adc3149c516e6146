//! Starts without compiling.

use std::time::Instant;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::super::built::{Built, Options};
use super::super::report::{median, reached};
use super::servers::{Findings, ours};
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
            let server = ours(&built.daemon, &component, &flags, &[])?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            let is_kept = server.output().contains("loaded from the cache");
            ensure!(is_kept == (round > 0), "{}", server.output());
            drop(server);
        }
        let first = times.remove(0);
        let median = median(times);
        let verdict = reached(median <= 150.0);
        remarks.push(format!(
            "- first answer of a component in {name} after {median:.0} ms (compiled: {first:.0} ms); \
             wanted: at most 150 ms: {verdict}"
        ));
    }
    Ok(Findings {
        remarks,
        ..Findings::default()
    })
}

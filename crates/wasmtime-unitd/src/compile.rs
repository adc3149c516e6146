//! `wasmtime-unitd compile`: compiles components into the cache, so that the server starts without compiling.

use std::path::absolute;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use code_cache::{Cache, Origin};
use engine::Engine;

use crate::arguments::Compile;
use crate::log::Log;

/// Compiles all components, also after one has failed. The exit code says whether one has.
pub(crate) fn run(compile: &Compile) -> Result<ExitCode> {
    let log = Log::start(&compile.logging)?;
    let _flush = log.flush_at_end();
    let components = &compile.components;
    let folder = compile.cache.of(&compile.state);
    let cache = Cache::open(folder).context("cannot use the cache")?;
    let engine = Engine::new(&engine::Options::default())?;
    let mut code = ExitCode::SUCCESS;
    for (number, component) in (1..).zip(components) {
        // Compiling may take minutes without any further output.
        eprintln!("{} ({number} of {})", component.display(), components.len());
        let begun = std::time::Instant::now();
        match cache.load(&engine, &absolute(component)?) {
            Ok(loaded) => {
                let what = match loaded.origin {
                    Origin::Compiler => "compiled",
                    Origin::Cache => "already in the cache, loaded",
                };
                println!(
                    "{}: {what} in {} ms",
                    component.display(),
                    begun.elapsed().as_millis()
                );
                if let Some(error) = loaded.not_kept {
                    eprintln!(
                        "{}: compiled, but not written to the cache: {error}",
                        component.display()
                    );
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                eprintln!("{error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

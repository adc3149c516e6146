//! `wasmtime-unitd check`: what the control API would say to a configuration, without applying it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, absolute};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use config::{Checked, Config};
use engine::{Component, Engine};

use crate::arguments::Check;
use crate::folders::{self, Guarded};

/// Bytes of a configuration; as many as the control API takes.
const MAX_SIZE: u64 = 16 << 20;

pub(crate) fn run(check: &Check) -> Result<ExitCode> {
    let name = check.file.display();
    let text = read(&check.file).with_context(|| format!("cannot read {name}"))?;
    let tree = match config::parse(&text) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("{name}: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let Checked { config, warnings } = match Config::check(&tree) {
        Ok(checked) => checked,
        Err(error) => {
            let place = config::locate(&text, &error.path);
            let place = place.map_or_else(String::new, |place| format!("{place}: "));
            let hint = error
                .suggestion
                .map_or_else(String::new, |word| format!(" Did you mean \"{word}\"?"));
            eprintln!("{name}: {place}{error}{hint}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in warnings {
        eprintln!("{name}: warning: {warning}");
    }
    let engine = Engine::new(&engine::Options::default())?;
    let state = absolute(&check.state.directory)?;
    let guarded = Guarded {
        secret: vec![state.join(control::CERTIFICATES)],
        trusted: vec![state, absolute(check.cache.of(&check.state))?],
    };
    let mut valid = true;
    for application in &config.applications {
        let memory = application.limits.memory;
        let memory = memory.unwrap_or(engine::Limits::default().memory);
        let loaded = Component::load(&engine, &application.component)
            .and_then(|component| component.fits(&application.component, memory));
        if let Err(error) = loaded {
            eprintln!("{name}: {}: {error}", application.component_path());
            valid = false;
        }
        if let Err(error) = folders::check(&application.access.filesystem, &guarded) {
            let path = application.folder_path(error.index);
            eprintln!("{name}: {path}: {error}");
            valid = false;
        }
    }
    if !valid {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{name}: valid: {} listeners, {} applications",
        config.listeners.len(),
        config.applications.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        io::stdin().take(MAX_SIZE + 1).read_to_end(&mut text)?;
    } else {
        if !fs::metadata(file)?.is_file() {
            anyhow::bail!("it is not a regular file");
        }
        File::open(file)?
            .take(MAX_SIZE + 1)
            .read_to_end(&mut text)?;
    }
    if text.len() as u64 > MAX_SIZE {
        anyhow::bail!("it has more than {MAX_SIZE} bytes");
    }
    Ok(text)
}

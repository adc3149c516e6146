//! `wasmtime-unitd check`: checks a configuration as the control API would, without applying it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, absolute};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use certificates::{ServerTls, Store};
use config::{Checked, Config, Value};
use engine::{Component, Engine};

use crate::arguments::Check;
use crate::folders::{self, GuardedFolders};
use crate::{control_exposure, shares};

/// Maximum size of a configuration in bytes, the same as in the control API.
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
    let state = check.state();
    let cache = absolute(check.cache.of(&state))?;
    let state = absolute(state.directory)?;
    let guarded = GuardedFolders {
        secret: vec![state.join(control::CERTIFICATES)],
        trusted: vec![state, cache],
    };
    for warning in warnings
        .into_iter()
        .chain(shares::warnings(&config, &guarded))
        .chain(control_exposure::warnings(&config, &check.control))
    {
        eprintln!("{name}: warning: {warning}");
    }
    let mut wrong = applications(&config, &guarded)?;
    if let Some(error) = config::missing_certificate(&tree, |_| false) {
        match &check.statedir {
            Some(state) => wrong.extend(certificates(&config, &tree, state)?),
            None => eprintln!(
                "{name}: {}: certificates are not checked without --statedir",
                error.path
            ),
        }
    }
    for wrong in &wrong {
        eprintln!("{name}: {wrong}");
    }
    if !wrong.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{name}: valid: {} listeners, {} applications",
        config.listeners.len(),
        config.applications.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// The errors that loading the applications would have.
fn applications(config: &Config, guarded: &GuardedFolders) -> Result<Vec<String>> {
    let engine = Engine::new(&engine::Options::default())?;
    let mut wrong = Vec::new();
    for application in &config.applications {
        let memory = application.limits.memory;
        let memory = memory.unwrap_or(engine::Limits::default().memory);
        let loaded = Component::load(&engine, &application.component)
            .and_then(|component| component.fits(&application.component, memory));
        if let Err(error) = loaded {
            wrong.push(format!("{}: {error}", application.component_path()));
        }
        if let Err(error) = folders::check(&application.access.filesystem, guarded) {
            let path = application.folder_path(error.index);
            wrong.push(format!("{path}: {error}"));
        }
    }
    Ok(wrong)
}

/// The errors that TLS on the listeners would have, for a server with this state directory.
fn certificates(config: &Config, tree: &Value, state: &Path) -> Result<Vec<String>> {
    let (kept, damaged) = Store::look(&state.join(control::CERTIFICATES))?;
    if let Some(error) = config::missing_certificate(tree, |name| kept.get(name).is_some()) {
        // The file may exist, but not be a certificate.
        let damaged = damaged.iter().map(ToString::to_string);
        return Ok(damaged.chain([error.to_string()]).collect());
    }
    let mut wrong = Vec::new();
    for listener in &config.listeners {
        let tls = listener.tls.clone();
        if let Some(Err(error)) = tls.map(|options| ServerTls::new(options, &kept)) {
            let path = listener.path().join("tls").join("certificate");
            wrong.push(format!("{path}: {error}"));
        }
    }
    Ok(wrong)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        io::stdin().take(MAX_SIZE + 1).read_to_end(&mut text)?;
    } else {
        if !fs::metadata(file)?.is_file() {
            anyhow::bail!("not a regular file");
        }
        File::open(file)?
            .take(MAX_SIZE + 1)
            .read_to_end(&mut text)?;
    }
    if text.len() as u64 > MAX_SIZE {
        anyhow::bail!("larger than {MAX_SIZE} bytes");
    }
    Ok(text)
}

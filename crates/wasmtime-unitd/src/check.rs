//! `wasmtime-unitd check`: checks a configuration as the control API and `--config` would, without applying it.

use std::io::{self, Read as _};
use std::path::{Path, absolute};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use certificates::{Certificates, Damaged, ServerTls, Store};
use config::{Checked, Config, Value};
use config_files::{Files, MAX_SIZE, ReadError, Source};
use engine::{Component, Engine};

use crate::arguments::Check;
use crate::folders::{self, GuardedFolders};
use crate::{control_exposure, shares};

pub(crate) fn run(check: &Check) -> Result<ExitCode> {
    let name = check.file.display();
    let input = if check.file == Path::new("-") {
        Input::of_text(read_input().context("cannot read -")?)
    } else {
        Input::of_files(Source::new(&check.file).read())
    };
    let input = match input {
        Ok(input) => input,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let tree = Arc::new(input.tree.clone());
    let checked = control::resolve(&tree, true)
        .map_err(|error| input.place(&error.path, &error.to_string(), None))
        .and_then(|resolved| match Config::check(&resolved.tree) {
            Ok(checked) => Ok((resolved.tree, checked)),
            Err(error) => {
                let error = resolved.conceal_invalid(error);
                Err(input.place(&error.path, &error.to_string(), error.suggestion))
            }
        });
    let (tree, Checked { config, warnings }) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            eprintln!("{error}");
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
        match (input.certificates, &check.statedir) {
            (Some(certificates), _) => wrong.extend(tls(&config, &tree, &certificates, &[])),
            (None, Some(state)) => {
                let (kept, damaged) = Store::look(&state.join(control::CERTIFICATES))?;
                wrong.extend(tls(&config, &tree, &kept, &damaged));
            }
            (None, None) => eprintln!(
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

/// The errors that TLS on the listeners would have with these certificates.
fn tls(config: &Config, tree: &Value, kept: &Certificates, damaged: &[Damaged]) -> Vec<String> {
    if let Some(error) = config::missing_certificate(tree, |name| kept.get(name).is_some()) {
        // The file may exist, but not be a certificate.
        let damaged = damaged.iter().map(ToString::to_string);
        return damaged.chain([error.to_string()]).collect();
    }
    let mut wrong = Vec::new();
    for listener in &config.listeners {
        let tls = listener.tls.clone();
        if let Some(Err(error)) = tls.map(|options| ServerTls::new(options, kept)) {
            let path = listener.path().join("tls").join("certificate");
            wrong.push(format!("{path}: {error}"));
        }
    }
    wrong
}

/// What is checked.
struct Input {
    tree: Value,
    /// Those of a folder. `None` if they are elsewhere.
    certificates: Option<Certificates>,
    place: Box<dyn Fn(&config::Path) -> String>,
}

impl Input {
    fn of_text(text: Vec<u8>) -> Result<Self, String> {
        let tree = config::parse(&text).map_err(|error| format!("-: {error}"))?;
        let place = move |path: &config::Path| {
            config::locate(&text, path).map_or_else(String::new, |place| format!("-: {place}: "))
        };
        Ok(Self {
            tree,
            certificates: None,
            place: Box::new(place),
        })
    }

    fn of_files(files: Result<Files, ReadError>) -> Result<Self, String> {
        let files = files.map_err(|error| error.to_string())?;
        Ok(Self {
            tree: files.tree.clone(),
            certificates: (!files.certificates.is_empty()).then(|| files.certificates.clone()),
            place: Box::new(move |path| format!("{}: ", files.place(path))),
        })
    }

    /// A message with the place of what it is about.
    fn place(&self, path: &config::Path, message: &str, suggestion: Option<&str>) -> String {
        let hint = suggestion.map_or_else(String::new, |word| format!(" Did you mean \"{word}\"?"));
        format!("{}{message}{hint}", (self.place)(path))
    }
}

fn read_input() -> Result<Vec<u8>> {
    let mut text = Vec::new();
    io::stdin().take(MAX_SIZE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        anyhow::bail!("larger than {MAX_SIZE} bytes");
    }
    Ok(text)
}

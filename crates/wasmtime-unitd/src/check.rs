//! `wasmtime-unitd check`: checks a configuration as the control API and `--config` would, without applying it.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use certificates::{Certificates, ServerTls, Store};
use config::{Checked, Config, Value};
use config_files::{MAX_SIZE, Source};
use engine::{Component, Engine};

use crate::arguments::Check;
use crate::folders::{self, GuardedFolders};
use crate::{control_exposure, shares};

pub(crate) fn run(check: &Check) -> Result<ExitCode> {
    let name = check.file.display();
    let input = if check.file == Path::new("-") {
        Input::of_text(read_input().context("cannot read -")?)
    } else {
        Input::of_files(&Source::new(&check.file))
    };
    let input = match input {
        Ok(input) => input,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let tree = Arc::new(input.tree.clone());
    let resolved = match control::resolve(&tree, true) {
        Ok(resolved) => resolved,
        Err(error) => {
            eprintln!("{}{error}", (input.place)(&error.path));
            return Ok(ExitCode::FAILURE);
        }
    };
    let Checked { config, warnings } = match Config::check(&resolved.tree) {
        Ok(checked) => checked,
        Err(error) => {
            let error = resolved.conceal_invalid(error);
            let hint = error
                .suggestion
                .map_or_else(String::new, |word| format!(" Did you mean \"{word}\"?"));
            eprintln!("{}{error}{hint}", (input.place)(&error.place()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let report = |fault: &Fault, kind: &str| {
        let message = resolved.values.conceal(&fault.message, Some(&fault.path));
        eprintln!(
            "{}{kind}{}: {message}",
            (input.place)(&fault.path),
            fault.path
        );
    };
    let guarded = guarded(check, input.folder.as_deref())?;
    for warning in warnings
        .into_iter()
        .chain(shares::warnings(&config, &guarded))
        .chain(control_exposure::warnings(&config, &check.control))
    {
        report(&Fault::new(warning.path, &warning.reason), "warning: ");
    }
    let mut faults = applications(&config, &guarded)?;
    if let Some(error) = config::missing_certificate(&resolved.tree, |_| false) {
        match (&input.folder, &check.statedir) {
            (None, None) => eprintln!(
                "{}{}: certificates are not checked without --statedir",
                (input.place)(&error.path),
                error.path
            ),
            (None, Some(state)) => {
                let (kept, damaged) = Store::look(&state.join(control::CERTIFICATES))?;
                for damaged in &damaged {
                    eprintln!("{name}: {damaged}");
                }
                faults.extend(tls(&config, &resolved.tree, &kept));
            }
            (Some(_), _) => faults.extend(tls(&config, &resolved.tree, &input.certificates)),
        }
    }
    for fault in &faults {
        report(fault, "");
    }
    if !faults.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{name}: valid: {} listeners, {} applications",
        config.listeners.len(),
        config.applications.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// The server's own folders, with that of the configuration.
fn guarded(check: &Check, folder: Option<&Path>) -> Result<GuardedFolders> {
    let state = check.state();
    let cache = absolute(check.cache.of(&state))?;
    let state = absolute(state.directory)?;
    let folder = folder.map(absolute).transpose()?;
    Ok(GuardedFolders {
        secret: folder
            .into_iter()
            .chain([state.join(control::CERTIFICATES)])
            .collect(),
        trusted: vec![state, cache],
    })
}

/// What the server could not serve, or should not.
struct Fault {
    path: config::Path,
    message: String,
}

impl Fault {
    fn new(path: config::Path, message: &impl ToString) -> Self {
        Self {
            path,
            message: message.to_string(),
        }
    }
}

/// The errors that loading the applications would have.
fn applications(config: &Config, guarded: &GuardedFolders) -> Result<Vec<Fault>> {
    let engine = Engine::new(&engine::Options::default())?;
    let mut faults = Vec::new();
    // Many applications may have one component.
    let mut loaded = BTreeMap::new();
    for application in &config.applications {
        let path = &application.component;
        let load = || Component::load(&engine, path).map_err(|error| error.to_string());
        let component = loaded.entry(path).or_insert_with(load);
        let memory = application.limits.memory;
        let memory = memory.unwrap_or(engine::Limits::default().memory);
        let fits = component.as_ref().map_err(Clone::clone);
        let fits = fits.and_then(|component| {
            component
                .fits(path, memory)
                .map_err(|error| error.to_string())
        });
        if let Err(error) = fits {
            faults.push(Fault::new(application.component_path(), &error));
        }
        if let Err(error) = folders::check(&application.access.filesystem, guarded) {
            faults.push(Fault::new(application.folder_path(error.index), &error));
        }
    }
    Ok(faults)
}

/// The errors that TLS on the listeners would have with these certificates.
fn tls(config: &Config, tree: &Value, kept: &Certificates) -> Vec<Fault> {
    if let Some(error) = config::missing_certificate(tree, |name| kept.get(name).is_some()) {
        return vec![Fault::new(error.path, &error.detail)];
    }
    let mut faults = Vec::new();
    for listener in &config.listeners {
        let tls = listener.tls.clone();
        if let Some(Err(error)) = tls.map(|options| ServerTls::new(options, kept)) {
            let path = listener.path().join("tls").join("certificate");
            faults.push(Fault::new(path, &error));
        }
    }
    faults
}

/// What is checked.
struct Input {
    tree: Value,
    /// The folder, if it is one, which has the certificates.
    folder: Option<PathBuf>,
    certificates: Certificates,
    /// The place of a value, followed by a colon and a space.
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
            folder: None,
            certificates: Certificates::default(),
            place: Box::new(place),
        })
    }

    fn of_files(source: &Source) -> Result<Self, String> {
        let files = source.read().map_err(|error| error.to_string())?;
        Ok(Self {
            tree: files.tree.clone(),
            folder: source.folder().map(Path::to_owned),
            certificates: files.certificates.clone(),
            place: Box::new(move |path| format!("{}: ", files.place(path))),
        })
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

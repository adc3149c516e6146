//! The folder in which a tool chain makes its component, or a tool is installed, and the steps that are run there once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::command::{cargo, root, target};

/// How long an installation may take, a build, and a query of a tool's version.
const INSTALLATION: Duration = Duration::from_secs(600);
const BUILD: Duration = Duration::from_secs(300);
const QUESTION: Duration = Duration::from_secs(60);

/// What pip, npm and cargo say where there is no registry, or none that has what this kind of
/// machine needs.
const UNREACHABLE: [&str; 14] = [
    "(from versions: none)",
    "Failed to establish a new connection",
    "Read timed out",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENOTFOUND",
    "ETIMEDOUT",
    "EAI_AGAIN",
    "Could not connect to server",
    "Could not resolve host",
    "Timeout was reached",
    "spurious network error",
    "attempting to make an HTTP request, but --offline",
    // By a mirror, to which nothing can be published, not even for a try.
    "crates-io is replaced with",
];

/// Why there is no component, or no tool.
pub(crate) enum Failure {
    /// This machine has not got what the tool chain needs.
    NotHere(String),
    /// It has, but the component does not build.
    Broken(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

pub(crate) type Step<T = ()> = std::result::Result<T, Failure>;

/// The folder where a tool chain is installed, and builds.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) fn new(name: &'static str) -> Result<Self> {
        let folder = target().join("toolchains").join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self { name, folder })
    }

    /// What `tool` says of its version, on one line.
    pub(super) fn version(&self, tool: &str, packages: &str) -> Step<String> {
        let mut command = Command::new(tool);
        let here = command.arg("--version").stdin(Stdio::null()).output();
        if !here.is_ok_and(|output| output.status.success()) {
            return Err(Failure::NotHere(format!(
                "no {tool} on this machine (on Debian: apt-get install {packages})"
            )));
        }
        let said = self.said(Command::new(tool).arg("--version"))?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    }

    /// Whether the command succeeds.
    pub(super) fn succeeds(&self, command: &mut Command) -> Result<bool> {
        Ok(self.bounded(command, QUESTION)?.succeeded())
    }

    /// What a command that succeeds prints.
    pub(super) fn said(&self, command: &mut Command) -> Result<String> {
        let ended = self.bounded(command, QUESTION)?;
        if !ended.succeeded() {
            return Err(ended.error(command));
        }
        Ok(ended.output.trim().to_owned())
    }

    /// Does what is not done yet for what `stamp` says.
    pub(crate) fn once(&self, what: &str, stamp: &str, action: impl FnOnce() -> Step) -> Step {
        let file = self.folder.join(what);
        if fs::read_to_string(&file).is_ok_and(|done| done == stamp) {
            return Ok(());
        }
        if file.exists() {
            fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
        action()?;
        fs::write(&file, stamp).with_context(|| file.display().to_string())?;
        Ok(())
    }

    /// Runs a step that needs a registry.
    pub(crate) fn install(&self, what: &str, command: &mut Command) -> Step {
        let ended = self.timed(what, command, INSTALLATION)?;
        if ended.succeeded() {
            return Ok(());
        }
        if ended.status.is_none() {
            let seconds = INSTALLATION.as_secs();
            let reason = format!("{what} takes longer than {seconds} seconds");
            return Err(Failure::NotHere(reason));
        }
        match unreachable(&ended.output) {
            Some(line) => Err(Failure::NotHere(format!("{what}: {line}"))),
            None => Err(ended.error(command).into()),
        }
    }

    /// Runs a step that must succeed.
    pub(crate) fn build(&self, what: &str, command: &mut Command) -> Step {
        let ended = self.timed(&format!("building {what}"), command, BUILD)?;
        if !ended.succeeded() {
            return Err(ended.error(command).into());
        }
        Ok(())
    }

    /// Copies the guest's files here, so that nothing is written where they are.
    pub(super) fn copy_sources(&self) -> Result<()> {
        for file in files(&sources(self.name))? {
            copy(&file, &self.folder, str::to_owned)?;
        }
        Ok(())
    }

    /// The text of all that a component is made of: its tool chain, sources and recipe.
    pub(super) fn stamp(&self, installed: &str) -> Result<String> {
        let mut stamp = format!("{installed}\n{}", include_str!("mod.rs"));
        let sources = files(&sources(self.name))?;
        for file in sources.into_iter().chain([world()]) {
            stamp.push_str(&read(&file)?);
        }
        Ok(stamp)
    }

    /// Puts the guest's world into `wit`, and below it the packages that it names, which the
    /// crate `wasip2` has.
    pub(super) fn copy_wit(&self, edit: impl Fn(&str) -> String) -> Step {
        let manifest = sources("rust-wstd").join("Cargo.toml");
        self.fetch(&manifest)?;
        let mut metadata = cargo();
        metadata
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .args(["--filter-platform", "wasm32-wasip2", "--manifest-path"]);
        let metadata = self.said(metadata.arg(&manifest))?;
        let wasip2 = package(&metadata, "wasip2").context("no crate wasip2")?;

        let wit = self.folder.join("wit");
        if wit.exists() {
            fs::remove_dir_all(&wit).with_context(|| wit.display().to_string())?;
        }
        let packages = wit.join("deps");
        fs::create_dir_all(&packages).with_context(|| packages.display().to_string())?;
        for file in files(&wasip2.join("wit/deps"))? {
            copy(&file, &packages, &edit)?;
        }
        copy(&world(), &wit, &edit)?;
        Ok(())
    }

    /// Downloads what a package of Rust needs, unless it is here.
    pub(super) fn fetch(&self, manifest: &Path) -> Step {
        let mut fetch = cargo();
        fetch.args(["fetch", "--locked", "--target", "wasm32-wasip2"]);
        self.install(
            "fetching crates",
            fetch.arg("--manifest-path").arg(manifest),
        )
    }

    fn timed(&self, what: &str, command: &mut Command, limit: Duration) -> Result<Ended> {
        println!("xtask: {}: {what}", self.name);
        let started = Instant::now();
        let ended = self.bounded(command, limit)?;
        let seconds = started.elapsed().as_secs();
        println!("xtask: {}: {what}: {seconds} seconds", self.name);
        Ok(ended)
    }

    /// Runs a command here, and ends it when it takes longer than `limit`. What it prints goes
    /// through a file, which what it leaves behind cannot keep open for us.
    fn bounded(&self, command: &mut Command, limit: Duration) -> Result<Ended> {
        let log = self.folder.join("log");
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let mut child = command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .stdout(file)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if Instant::now() > end {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        Ok(Ended { status, output })
    }
}

/// The outcome of a command.
struct Ended {
    /// Nothing if it was ended for its time.
    status: Option<ExitStatus>,
    output: String,
}

impl Ended {
    fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    fn error(&self, command: &Command) -> anyhow::Error {
        const LINES: usize = 40;
        let lines: Vec<&str> = self.output.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        let line = format!("{command:?}").replace('"', "");
        match self.status {
            Some(status) => anyhow!("`{line}` failed: {status}\n{last}"),
            None => anyhow!("`{line}` took too long\n{last}"),
        }
    }
}

pub(super) fn sources(name: &str) -> PathBuf {
    root().join("guests/toolchains").join(name)
}

fn world() -> PathBuf {
    sources("wit").join("world.wit")
}

pub(super) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}

/// The files of a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn copy(file: &Path, folder: &Path, edit: impl Fn(&str) -> String) -> Result<()> {
    let copy = folder.join(file.file_name().unwrap_or_default());
    fs::write(&copy, edit(&read(file)?)).with_context(|| copy.display().to_string())
}

/// The folder of a package, by what `cargo metadata` prints.
fn package(metadata: &str, name: &str) -> Option<PathBuf> {
    let manifests = metadata.split(r#""manifest_path":""#).skip(1);
    manifests
        .filter_map(|rest| Path::new(rest.split('"').next()?).parent())
        .find(|folder| {
            let version = folder
                .file_name()
                .and_then(|folder| folder.to_str()?.strip_prefix(name)?.strip_prefix('-'));
            version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(Path::to_owned)
}

/// The line by which a tool says that it reaches no registry.
fn unreachable(output: &str) -> Option<String> {
    let line = output
        .lines()
        .find(|line| UNREACHABLE.iter().any(|phrase| line.contains(phrase)))?;
    Some(line.trim().chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_registry_is_distinguished_from_a_missing_version() {
        for output in [
            "ERROR: Could not find a version that satisfies the requirement a==1 (from versions: none)",
            "npm error code ECONNREFUSED",
            "Caused by:\n  [7] Could not connect to server (Failed to connect to a)",
        ] {
            assert!(unreachable(output).is_some(), "{output}");
        }
        for output in [
            "ERROR: Could not find a version that satisfies the requirement a==1 (from versions: 2)",
            "npm error 404  The requested resource 'a@1' could not be found",
            "error: could not find `a` in registry `crates-io` with version `=1`",
        ] {
            assert_eq!(unreachable(output), None, "{output}");
        }
    }

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        let metadata = r#"[{"manifest_path":"/r/wasip2-extra-1.0.0/Cargo.toml"},
            {"manifest_path":"/r/wasip2-1.0.4+wasi-0.2.12/Cargo.toml","metadata":null}]"#;
        let folder = package(metadata, "wasip2");
        assert_eq!(folder, Some("/r/wasip2-1.0.4+wasi-0.2.12".into()));
        assert_eq!(package(metadata, "wasip3"), None);
    }
}

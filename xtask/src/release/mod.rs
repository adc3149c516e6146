//! Builds as they are published: linked as one, and optimised by a profile of the same programs at work.
//!
//! ```text
//!   build that counts ──▶ train: guests under load ──▶ profile ──▶ build that uses it
//! ```
//!
//! The profile only tells which code is used most; programs built without it do the same, slower.
//! Where the toolchain has no `llvm-profdata`, that is what is built.

mod train;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, root, run, rustc, step, target};
use crate::guests;

/// Builds programs with a profile, if there is one, and gives the folder that they are in.
///
/// # Errors
///
/// When one does not build.
pub(crate) fn build(programs: &[&str], profile: Option<&Profile>) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release"]);
    for program in programs {
        build.args(["--bin", program]);
    }
    let folder = match profile {
        Some(profile) => target().join(profile.used_by(&mut build)?),
        None => target(),
    };
    step("release build", &mut build)?;
    let folder = folder.join("release");
    if let Some(profile) = profile {
        profile.check(&folder.join("wasmtime-unitd"))?;
    }
    Ok(folder)
}

/// Which code is used most.
pub(crate) struct Profile {
    path: PathBuf,
    /// What `main` is called in the program that was counted.
    main: Vec<u8>,
}

impl Profile {
    /// Has a build use it. The build goes to a folder of the target's name, which is given.
    pub(crate) fn used_by(&self, build: &mut Command) -> Result<String> {
        let host = host()?;
        build.args(["--target", &host]);
        build.env(
            "RUSTFLAGS",
            format!("-Cprofile-use={}", self.path.display()),
        );
        Ok(host)
    }

    /// Makes sure that the daemon was built with it: the compiler does not say when it finds nothing.
    ///
    /// # Errors
    ///
    /// When its functions are called otherwise than those of the profile.
    fn check(&self, daemon: &Path) -> Result<()> {
        if name_of_main(daemon)? != self.main {
            let daemon = daemon.display();
            bail!("the profile does not fit {daemon}: its functions have other names");
        }
        Ok(())
    }
}

/// A profile of the programs as they are now; `None` where the toolchain cannot make one.
///
/// # Errors
///
/// When the programs do not build, or the training fails.
pub(crate) fn profile() -> Result<Option<Profile>> {
    let Some(merge) = profdata()? else {
        println!(
            "xtask: without a profile: the toolchain has no llvm-profdata (rustup component add \
             llvm-tools)"
        );
        return Ok(None);
    };
    let folder = target().join("profile");
    let raw = folder.join("raw");
    let host = host()?;
    let mut build = cargo();
    build.args(["build", "--release"]);
    build.args(["--bin", "wasmtime-unitd", "--bin", "baseline"]);
    // What is built for the machine that builds, procedural macros, must not count.
    build.args(["--target", &host, "--target-dir"]).arg(&folder);
    // In all else the build is the one that is to use the profile: with other settings its functions
    // would have other names, and none be found.
    build.env("RUSTFLAGS", format!("-Cprofile-generate={}", raw.display()));
    step("a build that counts what is used", &mut build)?;

    let programs = folder.join(host).join("release");
    let daemon = programs.join("wasmtime-unitd");
    let stamp = folder.join("trained");
    let state = state(&daemon)?;
    let main = name_of_main(&daemon)?;
    if let Ok(known) = fs::read_to_string(&stamp)
        && let Some((of, profile)) = known.split_once('\n')
        && of == state
        && Path::new(profile).is_file()
    {
        let path = profile.into();
        return Ok(Some(Profile { path, main }));
    }
    if raw.exists() {
        fs::remove_dir_all(&raw).with_context(|| raw.display().to_string())?;
    }
    println!("\nxtask: training, which takes about a minute");
    let guests = guests::build()?;
    train::daemon(&daemon, &guests)?;
    train::baseline(&programs.join("baseline"), &guests[0])?;
    // Of another name each time: cargo does not see that the content has changed.
    let profile = folder.join(format!("{:016x}.profdata", fingerprint(&state)));
    let mut merging = Command::new(merge);
    merging.arg("merge").arg(&raw).arg("-o").arg(&profile);
    run(&mut merging)?;
    fs::remove_dir_all(&raw).with_context(|| raw.display().to_string())?;
    fs::write(&stamp, format!("{state}\n{}", profile.display()))?;
    let path = profile;
    Ok(Some(Profile { path, main }))
}

/// The symbol of the daemon's `main`, which ends in what tells one build's names from another's.
fn name_of_main(daemon: &Path) -> Result<Vec<u8>> {
    const BEGINNING: &[u8] = b"_ZN14wasmtime_unitd4main17h";
    let bytes = fs::read(daemon).with_context(|| daemon.display().to_string())?;
    let at = bytes
        .windows(BEGINNING.len())
        .position(|window| window == BEGINNING);
    let name = at.and_then(|at| bytes[at..].split(|byte| *byte == 0).next());
    name.map(<[u8]>::to_vec)
        .with_context(|| format!("{} has no symbol of main", daemon.display()))
}

/// Tells one build of a program from another.
fn state(program: &Path) -> Result<String> {
    let metadata = fs::metadata(program).with_context(|| program.display().to_string())?;
    Ok(format!("{} {:?}", metadata.len(), metadata.modified()?))
}

fn fingerprint(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The toolchain's own `llvm-profdata`, which knows the format of its profiles.
fn profdata() -> Result<Option<PathBuf>> {
    let libraries = rustc(&["--print", "target-libdir"])?;
    let libraries = Path::new(libraries.trim());
    let program = libraries
        .parent()
        .unwrap_or(libraries)
        .join("bin/llvm-profdata");
    if !program.is_file() {
        // It is there where rustup is, most often; if not, the caller says so.
        let _ = Command::new("rustup")
            .args(["component", "add", "llvm-tools"])
            .current_dir(root())
            .status();
    }
    Ok(program.is_file().then_some(program))
}

/// The target that programs for this machine are built for.
pub(crate) fn host() -> Result<String> {
    let version = rustc(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc does not say what machine this is")
}

//! `cargo xtask release`: the programs as they are published, and the folder of a release.
//!
//! ```text
//! refuse what must not be released ──▶ test ──▶ build ──▶ pack ──▶ check sums ──▶ signature
//!                                                               └▶ draft of the notes
//! ```
//!
//! What can be refused is refused first: tests and build take most of an hour. Neither a tag nor anything else
//! outside of the target folder is written; RELEASING.md has the steps that remain.

mod archive;
mod changelog;
mod signature;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::archive::Archive;
use self::changelog::Section;
use self::signature::SigningKey;
use crate::checkout::Checkout;
use crate::command::{output, root, target};
use crate::unit::{self, Tree};
use crate::{debug_symbols, package, release, test, toolchain};

pub(crate) const HELP: &str = "\
Usage: cargo xtask release [--sign KEY] [--skip-tests] [--daemon-only]
       cargo xtask release --build-only

Makes a release of the version that Cargo.toml names, in dist/VERSION of the target folder: the daemon
and its debug symbols, each as an archive, the same as static programs for x86-64 and aarch64, images,
lists of components and Debian packages, with SHA256SUMS and NOTES.md, the draft of the notes from
CHANGELOG.md. RELEASING.md says what to do with them.

Refuses to if a file differs from the commit, if the version has a tag, or if CHANGELOG.md has no
dated section for it, or entries under Unreleased. Then it runs `cargo xtask test`.

The daemon is built with fat LTO, and optimised by a profile of a training run; that takes some 25
minutes on two cores, and next to nothing when nothing has changed. Without rustup's component
llvm-tools there is no profile. Each static program takes some 15 minutes more.

Options:
  --sign KEY    Sign SHA256SUMS with this private key of SSH (or its .pub file, if an agent has the key)
                as SHA256SUMS.sig. The key has to be named in release-signers.
  --skip-tests  Do not run `cargo xtask test`, because CI has passed for this very commit
  --daemon-only Make the archives of the daemon only
  --build-only  Build the daemon only, without these checks and files; with a built tree of NGINX Unit,
                which UNIT_SRC may name, the module, too
";

/// The version of all packages of this repository, this one included.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Default, PartialEq, Eq)]
struct ReleaseOptions<'a> {
    sign: Option<&'a str>,
    skip_tests: bool,
    daemon_only: bool,
    build_only: bool,
}

impl<'a> ReleaseOptions<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--sign" => {
                    let key = arguments.next().context("--sign needs a KEY")?;
                    options.sign = Some(key);
                }
                "--skip-tests" => options.skip_tests = true,
                "--daemon-only" => options.daemon_only = true,
                "--build-only" => options.build_only = true,
                other => bail!("unknown argument: {other}\n\n{HELP}"),
            }
        }
        let has_others = options.sign.is_some() || options.skip_tests || options.daemon_only;
        if options.build_only && has_others {
            bail!("--build-only neither tests nor signs");
        }
        Ok(options)
    }
}

/// Makes a release, or builds its programs.
///
/// # Errors
///
/// When the checkout must not be released, or a step fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = ReleaseOptions::parse(arguments)?;
    if options.build_only {
        return build_only();
    }
    let changelog = root().join("CHANGELOG.md");
    let changelog =
        fs::read_to_string(&changelog).with_context(|| changelog.display().to_string())?;
    let section = changelog::section(&changelog, VERSION);
    let checkout = Checkout::read(&tag())?;
    refuse(section.as_ref(), &changelog, &checkout)?;
    let missing = package::published::missing();
    if !options.daemon_only && !missing.is_empty() {
        bail!(
            "the packages of a release cannot be made here (--daemon-only leaves them out):\n  {}",
            missing.join("\n  ")
        );
    }
    let section = section.unwrap_or_default();
    let key = options
        .sign
        .map(|key| SigningKey::find(Path::new(key), &signers()));
    let key = key.transpose()?;

    if !options.skip_tests {
        test::run()?;
    }
    let daemon = build()?;
    // The build writes the lock file if that does not fit.
    refuse(Some(&section), &changelog, &Checkout::read(&tag())?)?;
    require_version(&daemon)?;

    let folder = target().join("dist").join(VERSION);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    pack(&daemon, &release::host()?, &folder, checkout.time)?;
    if !options.daemon_only {
        for packed in package::published::write(&daemon, &folder)? {
            pack(&packed.built, packed.target, &folder, checkout.time)?;
        }
    }
    let sums = archive::write_sums(&folder)?;
    if let Some(key) = &key {
        key.sign(&sums, &signers())?;
    }
    let notes = changelog::notes(VERSION, &section, key.is_some());
    fs::write(folder.join("NOTES.md"), notes).context("NOTES.md")?;

    println!("\nxtask: the release is in {}", folder.display());
    println!(
        "xtask: read NOTES.md, tag {} as {}, and continue as RELEASING.md says",
        checkout.commit,
        tag()
    );
    if key.is_none() {
        println!("xtask: SHA256SUMS is not signed: no --sign KEY");
    }
    Ok(())
}

fn tag() -> String {
    format!("v{VERSION}")
}

/// The public keys of those who may sign releases.
fn signers() -> PathBuf {
    root().join("release-signers")
}

fn refuse(section: Option<&Section>, changelog: &str, checkout: &Checkout) -> Result<()> {
    let mut faults = checkout.faults();
    faults.extend(changelog::faults(VERSION, section, changelog));
    if !faults.is_empty() {
        bail!("{VERSION} cannot be released:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    toolchain::require_c_compiler()?;
    toolchain::prepare()?;
    let profile = release::profile()?;
    let folder = release::build(&["wasmtime-unitd"], profile.as_ref())?;
    Ok(folder.join("wasmtime-unitd"))
}

/// Makes sure that the program is the one of this version: another target folder may have an old one.
fn require_version(daemon: &Path) -> Result<()> {
    let said = output(Command::new(daemon).arg("--version"))?;
    let expected = format!("wasmtime-unitd {VERSION}");
    if said.trim() != expected {
        let daemon = daemon.display();
        bail!("{daemon} calls itself {said:?}, not {expected:?}");
    }
    Ok(())
}

/// Writes the archives of a release.
fn pack(daemon: &Path, target: &str, folder: &Path, time: u64) -> Result<()> {
    let work = tempfile::tempdir()?;
    let stripped = debug_symbols::split(daemon, work.path())?;
    let licenses = package::licenses::write("wasmtime-unitd", target)?;

    let mut archive = Archive::new(format!("wasmtime-unitd-{VERSION}-{target}"), time)?;
    archive.add(&stripped.program)?;
    for text in ["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md"] {
        archive.add(&root().join(text))?;
    }
    archive.add(&licenses)?;
    archive.write(folder)?;

    let mut archive = Archive::new(format!("wasmtime-unitd-{VERSION}-{target}-debug"), time)?;
    archive.add(&stripped.symbols)?;
    archive.write(folder)
}

/// Builds the daemon, and the module if there is a tree for it, and says where they are.
fn build_only() -> Result<()> {
    let tree = Tree::find()?;
    toolchain::require_c_compiler()?;
    toolchain::prepare()?;
    let profile = release::profile()?;
    let profile = profile.as_ref();
    let folder = release::build(&["wasmtime-unitd"], profile)?;
    let module = tree.map(|tree| tree.release(profile)).transpose()?;
    println!("\nxtask: built {}", folder.join("wasmtime-unitd").display());
    match module {
        Some(module) => println!("xtask: built {}", module.display()),
        None => println!("xtask: skipped: the module: {}", unit::MISSING),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_and_unknown_ones_refused() {
        let signed = ReleaseOptions::parse(&["--sign", "key", "--skip-tests"]).unwrap();
        assert_eq!((signed.sign, signed.skip_tests), (Some("key"), true));
        assert_eq!(
            ReleaseOptions::parse(&[]).unwrap(),
            ReleaseOptions::default()
        );
        for refused in [
            &["--sign"][..],
            &["--dry-run"],
            &["--build-only", "--sign", "key"],
            &["--build-only", "--skip-tests"],
        ] {
            assert!(ReleaseOptions::parse(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_release_has_the_stripped_program_its_symbols_and_their_sums() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("main.rs");
        fs::write(&source, "fn main() {}").unwrap();
        let daemon = folder.path().join("wasmtime-unitd");
        let mut rustc = Command::new("rustc");
        output(rustc.arg("-o").args([&daemon, &source])).unwrap();
        let release = folder.path().join("release");
        fs::create_dir(&release).unwrap();
        pack(&daemon, "x86_64-unknown-linux-gnu", &release, 1_000_000_000).unwrap();
        archive::write_sums(&release).unwrap();

        let here = || {
            let mut shell = Command::new("sh");
            shell.current_dir(&release).arg("-ec");
            shell
        };
        output(here().arg("sha256sum --check SHA256SUMS")).unwrap();
        let listed = output(here().arg("for file in *.tar.gz; do tar -tf $file; done")).unwrap();
        for file in [
            "/wasmtime-unitd\n",
            "/wasmtime-unitd.debug\n",
            "/LICENSE\n",
            "/third-party-licenses.txt\n",
            "/SECURITY.md\n",
        ] {
            assert!(listed.contains(file), "{file} in {listed}");
        }
    }

    #[test]
    fn all_reasons_to_refuse_a_release_are_named_at_once() {
        let checkout = Checkout {
            changes: vec![" M Cargo.toml".to_owned()],
            ..Checkout::default()
        };
        let error = refuse(None, "# Changelog\n", &checkout)
            .unwrap_err()
            .to_string();
        assert!(error.contains("Cargo.toml"), "{error}");
        assert!(error.contains("CHANGELOG.md has no section"), "{error}");
    }
}

//! `cargo xtask package`: what is installed, each kind by one command, and the tests of it.

pub(crate) mod debian;
mod elf;
mod folders;
mod image;
pub(crate) mod licenses;
mod manual;
mod module;
pub(crate) mod published;
mod registry;
mod sbom;
pub(crate) mod service;
mod static_binary;
mod target;

use anyhow::{Context as _, Result, bail};

use self::target::Architecture;

pub(crate) const HELP: &str = "\
Usage: cargo xtask package manual
       cargo xtask package static [--target TARGET] [--profile PROFILE]
       cargo xtask package image [--target TARGET] [--profile PROFILE]
       cargo xtask package sbom [--target TARGET]
       cargo xtask package licenses [--target TARGET]
       cargo xtask package deb [--profile PROFILE]
       cargo xtask package module [--profile PROFILE]
       cargo xtask package test [KIND]...

Makes what is installed, in packages/ of the target folder:

  manual  man pages, and completions for bash, zsh and fish
  static  the daemon as one file that needs no libraries (musl), stripped, with its debug symbols apart
  image   a container image of the static daemon and nothing else, as an OCI archive; the same commit
          gives the same digest. Needs buildah.
  sbom    the list of all that the daemon is built of, in the format of CycloneDX (JSON)
  licenses
          the licences of all that the daemon is built of, with their texts; the packages have it, too
  deb     a Debian package of the daemon: program, man pages, completions and a hardened systemd unit; and
          one of its debug symbols, where dpkg-deb is installed. cargo-deb is installed below the target
          folder where the machine has none.
  module  a Debian package of the module, unit-wasmtime, for the packages of NGINX Unit or FreeUnit. Needs a
          built tree of the one or the other, which UNIT_SRC may name, configured with
          --modulesdir=/usr/lib/unit/modules or /usr/lib/freeunit/modules.
  test    nothing that stays: checks packages of the profile dev, as `cargo xtask test` does; of all kinds
          (registry, licenses, service, deb, module, image, sbom) or some

Options:
  --target TARGET    x86_64-unknown-linux-musl or aarch64-unknown-linux-musl [default: this machine's
                     processor]. Needs musl-gcc (on Debian: musl-tools) for this machine's processor,
                     and aarch64-linux-gnu-gcc (gcc-aarch64-linux-gnu) for aarch64 on another one.
  --profile PROFILE  cargo's profile: release, quick, or dev to try out [default: release]
";

/// What is made by default, as it is published.
const RELEASE: &str = "release";

#[derive(Debug, PartialEq, Eq)]
struct PackageOptions<'a> {
    architecture: Option<Architecture>,
    profile: &'a str,
}

impl<'a> PackageOptions<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Self> {
        let mut options = Self {
            architecture: None,
            profile: RELEASE,
        };
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().copied();
            let value = value.with_context(|| format!("{flag}: without a value"));
            match *flag {
                "--target" => options.architecture = Some(Architecture::parse(value?)?),
                "--profile" => options.profile = value?,
                other => bail!("unknown argument: {other}\n\n{HELP}"),
            }
        }
        Ok(options)
    }
}

/// Makes one kind of package.
///
/// # Errors
///
/// When a tool is missing, or a step fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let Some((kind, options)) = arguments.split_first() else {
        bail!("package needs a KIND\n\n{HELP}");
    };
    if *kind == "test" {
        for skipped in test_kinds(options)? {
            println!("xtask: skipped: {skipped}");
        }
        return Ok(());
    }
    let options = PackageOptions::parse(options)?;
    let architecture = || options.architecture.map_or_else(Architecture::host, Ok);
    let made = match *kind {
        "manual" => manual::build()?,
        "static" => static_binary::build(architecture()?, options.profile)?,
        "image" => image::package(architecture()?, options.profile)?,
        "sbom" => sbom::package(architecture()?)?,
        "licenses" => licenses::write("wasmtime-unitd", architecture()?.triple())?,
        "deb" | "module" if options.architecture.is_some() => bail!("--target is not for {kind}"),
        "deb" => debian::package(options.profile)?,
        "module" => module::package(options.profile)?,
        other => bail!("unknown kind of package: {other}\n\n{HELP}"),
    };
    println!("\nxtask: made {}", made.display());
    Ok(())
}

/// Makes sure that a kind of package is as it should be. Gives what was left out.
type PackageTest = fn() -> Result<Vec<String>>;

/// By kind, cheap ones first.
const TESTS: [(&str, PackageTest); 7] = [
    ("registry", || one(registry::test)),
    ("licenses", || one(licenses::test)),
    ("service", || one(service::test)),
    ("deb", debian::test),
    ("module", || one(module::test)),
    ("image", || one(image::test)),
    ("sbom", || one(sbom::test)),
];

/// The outcome of a test that leaves out one thing at most.
fn one(test: fn() -> Result<Option<String>>) -> Result<Vec<String>> {
    Ok(Vec::from_iter(test()?))
}

/// Tests what this machine has the means for, with the daemon of the profile `dev`. Gives what was left out, each
/// with the reason.
///
/// # Errors
///
/// When a package cannot be made, or is not as it should be.
pub(crate) fn test() -> Result<Vec<String>> {
    test_kinds(&[])
}

/// Tests some kinds; without any, all.
fn test_kinds(kinds: &[&str]) -> Result<Vec<String>> {
    let known = TESTS.map(|(kind, _)| kind);
    if let Some(unknown) = kinds.iter().find(|kind| !known.contains(kind)) {
        bail!("there is no test of {unknown}, but of {}", known.join(", "));
    }
    let mut skipped = Vec::new();
    for (kind, test) in TESTS {
        if kinds.is_empty() || kinds.contains(&kind) {
            skipped.extend(test()?);
        }
    }
    Ok(skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_packages_are_parsed_and_unknown_ones_refused() {
        let options = PackageOptions::parse(&["--profile", "dev"]).unwrap();
        assert_eq!((options.architecture, options.profile), (None, "dev"));
        let options = PackageOptions::parse(&["--target", "aarch64-unknown-linux-musl"]).unwrap();
        assert_eq!(options.architecture, Some(Architecture::Aarch64));
        for refused in [
            &["--target"][..],
            &["--target", "riscv64gc-unknown-linux-musl"],
            &["--release", "x"],
        ] {
            assert!(PackageOptions::parse(refused).is_err(), "{refused:?}");
        }
        assert!(run(&[]).is_err() && run(&["rpm"]).is_err() && run(&["test", "rpm"]).is_err());
    }
}

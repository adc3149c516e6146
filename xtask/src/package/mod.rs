//! `cargo xtask package`: what is installed, each kind by one command, and the tests of it.

mod debian;
mod elf;
mod folders;
mod image;
mod manual;
mod registry;
mod sbom;
mod service;
mod static_binary;
mod target;

use anyhow::{Context as _, Result, bail};

use self::target::Architecture;

pub(crate) const HELP: &str = "\
Usage: cargo xtask package manual
       cargo xtask package static [--target TARGET] [--profile PROFILE]
       cargo xtask package image [--target TARGET] [--profile PROFILE]
       cargo xtask package sbom [--target TARGET]
       cargo xtask package deb [--profile PROFILE]
       cargo xtask package test

Makes what is installed, in packages/ of the target folder:

  manual  man pages, and completions for bash, zsh and fish
  static  the daemon as one file that needs no libraries (musl), stripped, with its debug symbols apart
  image   a container image of the static daemon and nothing else, as an OCI archive; the same commit
          gives the same digest. Needs buildah.
  sbom    the list of all that the daemon is built of, in the format of CycloneDX (JSON)
  deb     a Debian package of the daemon: program, man pages, completions and a hardened systemd unit.
          cargo-deb is installed below the target folder where the machine has none.
  test    nothing that stays: checks packages of the profile dev, as `cargo xtask test` does

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
    if arguments == ["test"] {
        for skipped in test()? {
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
        "deb" if options.architecture.is_some() => bail!("--target is not for deb"),
        "deb" => debian::package(options.profile)?,
        other => bail!("unknown kind of package: {other}\n\n{HELP}"),
    };
    println!("\nxtask: made {}", made.display());
    Ok(())
}

/// Tests what this machine has the means for, with the daemon of the profile `dev`. Gives what was left out, each
/// with the reason.
///
/// # Errors
///
/// When a package cannot be made, or is not as it should be.
pub(crate) fn test() -> Result<Vec<String>> {
    let mut skipped = Vec::new();
    skipped.extend(registry::test()?);
    skipped.extend(service::test()?);
    skipped.extend(debian::test()?);
    skipped.extend(image::test()?);
    skipped.extend(sbom::test()?);
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
        assert!(run(&[]).is_err() && run(&["rpm"]).is_err());
    }
}

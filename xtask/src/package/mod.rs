//! `cargo xtask package`: what is installed, each kind by one command, and the tests of it.

mod debian;
mod folders;
mod manual;
mod service;

use anyhow::{Context as _, Result, bail};

pub(crate) const HELP: &str = "\
Usage: cargo xtask package manual
       cargo xtask package deb [--profile PROFILE]

Makes what is installed, in packages/ of the target folder:

  manual  man pages, and completions for bash, zsh and fish
  deb     a Debian package of the daemon: program, man pages, completions and a hardened systemd unit.
          cargo-deb is installed below the target folder where the machine has none.

Options:
  --profile PROFILE  cargo's profile: release, quick, or dev to try out [default: release]
";

/// What is made by default, as it is published.
const RELEASE: &str = "release";

#[derive(Debug, PartialEq, Eq)]
struct PackageOptions<'a> {
    profile: &'a str,
}

impl<'a> PackageOptions<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Self> {
        let mut options = Self { profile: RELEASE };
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().copied();
            let value = value.with_context(|| format!("{flag}: without a value"));
            match *flag {
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
    let options = PackageOptions::parse(options)?;
    let made = match *kind {
        "manual" => manual::build()?,
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
    skipped.extend(service::test()?);
    skipped.extend(debian::test()?);
    Ok(skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_packages_are_parsed_and_unknown_ones_refused() {
        let options = PackageOptions::parse(&["--profile", "dev"]).unwrap();
        assert_eq!(options.profile, "dev");
        for refused in [&["--profile"][..], &["--release", "x"]] {
            assert!(PackageOptions::parse(refused).is_err(), "{refused:?}");
        }
        assert!(run(&[]).is_err() && run(&["rpm"]).is_err());
    }
}

//! The state of the checkout that is to be released, as git knows it. Changes nothing in it.

use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::command::{output, root};

/// How many changed files an error names.
const NAMED_CHANGES: usize = 10;

#[derive(Debug, Default)]
pub(crate) struct Checkout {
    /// Files that differ from the commit or are not in it, as lines of `git status`.
    pub(crate) changes: Vec<String>,
    /// The tag of the version, if it exists.
    pub(crate) tag: Option<String>,
    /// The hash of the commit.
    pub(crate) commit: String,
    /// The time of the commit in seconds since 1970: what is made of it has this time, not that of the build.
    pub(crate) time: u64,
}

impl Checkout {
    /// Asks git, also for this tag.
    ///
    /// # Errors
    ///
    /// When this is not a git checkout, or git does not work in it.
    pub(crate) fn read(tag: &str) -> Result<Self> {
        let status = git(&["status", "--porcelain", "--untracked-files=normal"])?;
        let tags = git(&["tag", "--list", tag])?;
        let time = git(&["log", "-1", "--format=%ct"])?;
        Ok(Self {
            changes: status.lines().map(str::to_owned).collect(),
            tag: tags.lines().next().map(str::to_owned),
            commit: git(&["rev-parse", "HEAD"])?.trim().to_owned(),
            time: time.trim().parse().context("the time of the commit")?,
        })
    }

    /// Why it must not be released, each as a line for people.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.changes.is_empty() {
            let named = self.changes.iter().take(NAMED_CHANGES);
            let mut named: Vec<_> = named.map(|line| line.trim()).collect();
            if self.changes.len() > NAMED_CHANGES {
                named.push("…");
            }
            faults.push(format!(
                "{} files differ from the commit: {}",
                self.changes.len(),
                named.join(", ")
            ));
        }
        if let Some(tag) = &self.tag {
            faults.push(format!(
                "the tag {tag} exists; raise the version in Cargo.toml"
            ));
        }
        faults
    }
}

/// The time of what is made of this checkout, in seconds since 1970: what `SOURCE_DATE_EPOCH` says, or the time of the
/// commit, or that of now where git does not work, as in a source archive.
pub(crate) fn time() -> u64 {
    let named = std::env::var("SOURCE_DATE_EPOCH").ok();
    let named = named.and_then(|seconds| seconds.trim().parse().ok());
    let of_commit = || Checkout::read("").ok().map(|checkout| checkout.time);
    named.or_else(of_commit).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs())
    })
}

fn git(arguments: &[&str]) -> Result<String> {
    output(Command::new("git").current_dir(root()).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_checkout_without_the_tag_has_no_fault() {
        assert_eq!(Checkout::default().faults(), [""; 0]);
    }

    #[test]
    fn changed_files_and_an_existing_tag_are_faults() {
        let checkout = Checkout {
            changes: (0..12).map(|number| format!("?? file{number}")).collect(),
            tag: Some("v1.2.3".to_owned()),
            ..Checkout::default()
        };
        let faults = checkout.faults();
        let files = "12 files differ from the commit: ?? file0, ";
        assert!(faults[0].starts_with(files), "{faults:?}");
        assert!(faults[0].ends_with(", ?? file9, …"), "{faults:?}");
        assert_eq!(
            faults[1],
            "the tag v1.2.3 exists; raise the version in Cargo.toml"
        );
    }
}

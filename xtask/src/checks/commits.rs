//! The rule that the subject of a commit fits where subjects are listed.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::root;

/// The longest subject, in characters.
const MAX_SUBJECT: usize = 72;

/// The rule holds for commits from this moment on.
const SINCE: &str = "2026-12-01T00:00:00Z";

/// The subjects that are too long, each as a line for people.
///
/// # Errors
///
/// When this is not a git checkout, or git does not work in it.
pub(super) fn faults() -> Result<Vec<String>> {
    if !root().join(".git").exists() {
        bail!("this is not a git checkout");
    }
    let mut log = Command::new("git");
    log.args(["log", "--no-merges", "--format=%h %s", "--since", SINCE]);
    let output = log
        .current_dir(root())
        .output()
        .context("cannot start git")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("git log failed: {}", error.trim());
    }
    Ok(long_subjects(&String::from_utf8_lossy(&output.stdout)))
}

/// Those of lines of a hash and a subject.
fn long_subjects(log: &str) -> Vec<String> {
    let subjects = log.lines().filter_map(|line| line.split_once(' '));
    let long = subjects.filter_map(|(hash, subject)| {
        let length = subject.chars().count();
        (length > MAX_SUBJECT).then(|| {
            format!("commit {hash}: a subject of {length} characters, of at most {MAX_SUBJECT}")
        })
    });
    long.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_subject_is_found() {
        let log = format!("1234567 area: do it\n89abcde {}\n", "a".repeat(73));
        assert_eq!(
            long_subjects(&log),
            ["commit 89abcde: a subject of 73 characters, of at most 72"]
        );
    }
}

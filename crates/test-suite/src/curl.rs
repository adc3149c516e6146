//! curl, where it is installed.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// Whether there is curl on this machine. If not, says on standard error that a case is skipped.
#[must_use]
pub fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no curl on this machine");
    }
    found
}

/// Runs curl without what a user's own configuration would add.
///
/// # Panics
///
/// When there is no curl.
pub fn curl<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new("curl")
        .args(["--disable", "--silent", "--show-error", "--max-time", "30"])
        .args(arguments)
        .output()
        .unwrap()
}

//! Checks of the systemd unit of the daemon, without a running systemd.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{output, root, step};

/// The highest exposure that `systemd-analyze security` may find, times ten: from 0, nothing,
/// to 100, all that there is.
const MAX_EXPOSURE: u32 = 20;

/// The first version of systemd that analyses a unit without a running system.
const FIRST_OFFLINE: u32 = 250;

/// The unit's file.
pub(super) fn file() -> PathBuf {
    root().join("packaging/systemd/wasmtime-unitd.service")
}

fn sockets_file() -> PathBuf {
    root().join("packaging/systemd/listeners/wasmtime-unitd-listeners.socket")
}

/// Checks the unit; gives what was left out.
///
/// # Errors
///
/// When systemd finds an error in it, or it leaves the system more exposed than it may.
pub(super) fn test() -> Result<Option<String>> {
    let version = Command::new("systemd-analyze").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        let reason = "no systemd-analyze on this machine (on Debian: apt-get install systemd)";
        return Ok(Some(format!("the check of the systemd unit: {reason}")));
    }
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join("wasmtime-unitd.service");
    // A unit whose program is not installed is an error, too.
    let text = fs::read_to_string(file()).context("the systemd unit")?;
    fs::write(&unit, text.replace("/usr/bin/wasmtime-unitd", "/bin/true"))?;
    let sockets = folder.path().join("wasmtime-unitd-listeners.socket");
    fs::copy(sockets_file(), &sockets).context("the unit of sockets")?;
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    step("systemd units", verify.args([&unit, &sockets]))?;
    let mut version = Command::new("systemd-analyze");
    let version = output(version.arg("--version"))?;
    if version_of(&version).is_none_or(|version| version < FIRST_OFFLINE) {
        return Ok(Some(format!(
            "the exposure of the systemd unit: systemd-analyze is older than {FIRST_OFFLINE}"
        )));
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager"]);
    let report = output(security.arg(&unit))?;
    check_exposure(&report)?;
    Ok(None)
}

/// Checks what `systemd-analyze security` says of the unit.
///
/// # Errors
///
/// When it leaves the system more exposed than it may.
pub(crate) fn check_exposure(report: &str) -> Result<()> {
    let exposure = exposure(report).context("systemd-analyze gives no level of exposure")?;
    println!("xtask: exposure of the systemd unit: {exposure} of 100");
    if exposure > MAX_EXPOSURE {
        bail!(
            "the exposure of the systemd unit is {exposure} of 100, more than {MAX_EXPOSURE}\n{report}"
        );
    }
    Ok(())
}

/// The version in a text such as `systemd 252 (252.39-1~deb12u1)`.
fn version_of(text: &str) -> Option<u32> {
    text.split_whitespace().nth(1)?.parse().ok()
}

/// The level of exposure that a report ends with, times ten.
fn exposure(report: &str) -> Option<u32> {
    let line = report
        .lines()
        .find(|line| line.contains("Overall exposure level"))?;
    let level = line.rsplit_once(": ")?.1.split_whitespace().next()?;
    let (whole, tenths) = level.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenths.parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_systemd_is_read() {
        assert_eq!(
            version_of("systemd 252 (252.39-1~deb12u1)\n+PAM"),
            Some(252)
        );
        assert_eq!(version_of("nonsense"), None);
    }

    #[test]
    fn the_exposure_is_read_from_the_last_line() {
        let report = "✓ PrivateTmp=  …\n\n→ Overall exposure level for a.service: 1.8 OK 🙂\n";
        assert_eq!(exposure(report), Some(18));
        let report = "→ Overall exposure level for a.service: 10.0 DANGEROUS";
        assert_eq!(exposure(report), Some(100));
        assert_eq!(exposure("Failed to load a.service"), None);
    }
}

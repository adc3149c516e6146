//! `wrk` as a client that asks all the time until it is stopped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::within;
use crate::toolchains::debian::InstalledProgram;

/// How long it may take to end: as long as a request may, and some.
const STOP: Duration = Duration::from_secs(20);

/// One line that a program can read: wrk's own leave out what is 0.
const SCRIPT: &str = r#"
function done(summary)
   local errors = summary.errors
   io.write(string.format("counted requests=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
      summary.requests, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"#;

/// A client with several connections. Dropping it ends it.
pub(super) struct WrkClient {
    child: Child,
    output: PathBuf,
}

impl WrkClient {
    /// Starts to ask for `/`. What it prints goes into a file of this name in the folder.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(
        program: &InstalledProgram,
        folder: &Path,
        name: &str,
        address: SocketAddr,
        arguments: &[&str],
    ) -> Result<Self> {
        let script = folder.join("wrk.lua");
        fs::write(&script, SCRIPT).with_context(|| script.display().to_string())?;
        let output = folder.join(name);
        let file = File::create(&output).with_context(|| output.display().to_string())?;
        let mut wrk = program.command();
        // It is stopped before; it ends by itself if this program is killed.
        wrk.args(["-t1", "-d3600s", "--timeout", "10s"]);
        wrk.args(arguments).arg("-s").arg(script);
        let child = wrk
            .arg(format!("http://{address}/"))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start wrk")?;
        Ok(Self { child, output })
    }

    /// Ends it, and gives the number of answers.
    ///
    /// # Errors
    ///
    /// When a request has failed, or it has ended before.
    pub(super) fn finish(mut self) -> Result<u64> {
        ensure!(
            self.child.try_wait()?.is_none(),
            "wrk has ended: {}",
            self.said()
        );
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGINT)?;
        within(STOP, "the end of wrk", || Ok(self.child.try_wait()?))?;
        count(&self.said())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for WrkClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of answers, if none is an error.
fn count(text: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("counted "));
    let line = line.with_context(|| format!("wrk does not say what it has counted:\n{text}"))?;
    let mut requests = None;
    for word in line.split(' ') {
        let value = word.split_once('=');
        let value = value.and_then(|(name, value)| Some((name, value.parse::<u64>().ok()?)));
        match value.with_context(|| format!("wrk has counted {word:?}"))? {
            ("requests", number) => requests = Some(number),
            (_, 0) => {}
            _ => bail!("requests have failed: wrk has counted {line}"),
        }
    }
    requests.with_context(|| format!("wrk has counted no requests: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_is_an_error() {
        let text = "Running\ncounted requests=70 connect=0 read=0 write=0 status=0 timeout=0\n";
        assert_eq!(count(text).unwrap(), 70);
        for name in ["connect", "read", "write", "status", "timeout"] {
            let failed = text.replace(&format!("{name}=0"), &format!("{name}=1"));
            assert!(count(&failed).is_err(), "{failed}");
        }
        assert!(count("unable to connect\n").is_err());
    }
}

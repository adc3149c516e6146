//! `wrk`, and what it says.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::report::{Latency, Sample};

/// What `wrk` is to do.
const SCRIPT: &str = include_str!("wrk.lua");

/// What to ask, and how.
pub(super) struct Load<'a> {
    pub(super) address: SocketAddr,
    /// Fields of each request, as `name: value`.
    pub(super) fields: &'a [String],
    /// Bytes of JSON that each request posts; none for 0.
    pub(super) body: u32,
    pub(super) connections: u32,
    pub(super) seconds: u32,
    /// The cores that `wrk` may use, as `taskset` takes them.
    pub(super) cores: &'a str,
}

impl Load<'_> {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// When `wrk` cannot be started, or any answer was an error: such a run says nothing.
    pub(super) fn run(&self) -> Result<Sample> {
        let folder = TempDir::new()?;
        let script = folder.path().join("wrk.lua");
        std::fs::write(&script, SCRIPT)?;
        let output = self
            .command(&script)
            .output()
            .context("cannot start taskset")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("wrk fails (is it installed?): {}{}", text, error.trim());
        }
        read(&text)
    }

    fn command(&self, script: &Path) -> Command {
        let mut wrk = Command::new("taskset");
        wrk.args(["-c", self.cores, "wrk", "-t1", "--timeout", "10s"])
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.seconds))
            .arg("-s")
            .arg(script);
        for field in self.fields {
            wrk.args(["-H", field]);
        }
        wrk.arg(format!("http://{}/", self.address));
        wrk.args(["--", &self.body.to_string()]);
        wrk
    }
}

fn read(text: &str) -> Result<Sample> {
    let line = text.lines().find_map(|line| line.strip_prefix("measured "));
    let line = line.with_context(|| format!("wrk does not say what it has measured:\n{text}"))?;
    let value = |name: &str| -> Result<f64> {
        let of_name = |word: &str| {
            let (key, value) = word.split_once('=')?;
            (key == name).then(|| value.parse().ok()).flatten()
        };
        line.split(' ')
            .find_map(of_name)
            .with_context(|| format!("wrk says nothing of {name}: {line}"))
    };
    let failed = value("failed")?;
    if failed > 0.0 {
        bail!("the run is invalid: {failed} requests failed");
    }
    let time = |name| -> Result<Duration> { Ok(Duration::try_from_secs_f64(value(name)? / 1e6)?) };
    let requests = value("requests")?;
    if requests < 1.0 {
        bail!("the run is invalid: there was no answer");
    }
    Ok(Sample {
        rate: requests / (value("duration")? / 1e6),
        latency: Some(Latency {
            p50: time("p50")?,
            p99: time("p99")?,
            p999: time("p99.9")?,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Running 4s test @ http://127.0.0.1:9302/
  64936 requests in 4.00s, 8.86MB read
Requests/sec:  16219.40
measured requests=64936 duration=4000000 failed=0 p50=1870.000000 p99=2430.500000 p99.9=16640.000000
";

    #[test]
    fn what_wrk_says_is_understood() {
        let sample = read(OUTPUT).unwrap();
        assert_eq!(sample.rate, 16234.0);
        let latency = sample.latency.unwrap();
        assert_eq!(latency.p50, Duration::from_micros(1870));
        assert_eq!(latency.p99, Duration::from_nanos(2_430_500));
        assert_eq!(latency.p999, Duration::from_micros(16640));
    }

    #[test]
    fn a_run_with_errors_or_without_answers_is_invalid() {
        assert!(read(&OUTPUT.replace("failed=0", "failed=3")).is_err());
        assert!(read(&OUTPUT.replace("requests=64936", "requests=0")).is_err());
        assert!(read(&OUTPUT.replace(" p99=", " p98=")).is_err());
        assert!(read("").is_err());
    }
}

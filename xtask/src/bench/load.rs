//! `wrk`, and what it says.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What to ask, and how.
pub(super) struct Load<'a> {
    pub(super) address: SocketAddr,
    /// Fields of each request, as `name: value`.
    pub(super) fields: &'a [String],
    pub(super) connections: u32,
    pub(super) seconds: u32,
    /// The cores that `wrk` may use, as `taskset` takes them.
    pub(super) cores: &'a str,
}

/// What one run of `wrk` measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) requests_per_second: f64,
    pub(super) median: Duration,
    pub(super) p99: Duration,
}

impl Load<'_> {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// When `wrk` cannot be started, or any answer was an error: such a run says nothing.
    pub(super) fn run(&self) -> Result<Sample> {
        let mut wrk = Command::new("taskset");
        wrk.args(["-c", self.cores, "wrk", "--latency", "-t1"])
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.seconds));
        for field in self.fields {
            wrk.args(["-H", field]);
        }
        let output = wrk
            .arg(format!("http://{}/", self.address))
            .output()
            .context("cannot start taskset")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("wrk fails (is it installed?): {}{}", text, error.trim());
        }
        read(&text)
    }
}

fn read(text: &str) -> Result<Sample> {
    for line in text.lines().map(str::trim) {
        if line.starts_with("Non-2xx") || line.starts_with("Socket errors") {
            bail!("the run is invalid: {line}");
        }
    }
    let value = |label: &str| {
        let of_label = |line: &str| line.trim().strip_prefix(label).map(|v| v.trim().to_owned());
        text.lines()
            .find_map(of_label)
            .with_context(|| format!("wrk says nothing of {label:?}:\n{text}"))
    };
    Ok(Sample {
        requests_per_second: value("Requests/sec:")?.parse()?,
        median: duration(&value("50%")?)?,
        p99: duration(&value("99%")?)?,
    })
}

/// `1.92ms`, `310.00us`, `1.20s` or `2.00m`.
fn duration(text: &str) -> Result<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text.trim_end_matches(unit).parse()?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => bail!("{text:?} is no time"),
    };
    Duration::try_from_secs_f64(number * seconds).with_context(|| format!("{text:?} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Running 4s test @ http://127.0.0.1:9302/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.98ms  541.80us  16.64ms   92.57%
    Req/Sec    16.30k     1.17k   17.75k    75.00%
  Latency Distribution
     50%    1.87ms
     75%    2.10ms
     90%    2.43ms
     99%  980.00us
  64936 requests in 4.00s, 8.86MB read
Requests/sec:  16219.40
Transfer/sec:      2.21MB
";

    #[test]
    fn what_wrk_says_is_understood() {
        let sample = read(OUTPUT).unwrap();
        assert_eq!(sample.requests_per_second, 16219.4);
        assert_eq!(sample.median, Duration::from_micros(1870));
        assert_eq!(sample.p99, Duration::from_micros(980));
    }

    #[test]
    fn a_run_with_errors_is_none() {
        for line in [
            "  Non-2xx or 3xx responses: 3\n",
            "  Socket errors: connect 0, read 1, write 0, timeout 0\n",
        ] {
            assert!(read(&format!("{OUTPUT}{line}")).is_err());
        }
        assert!(read("").is_err());
    }
}

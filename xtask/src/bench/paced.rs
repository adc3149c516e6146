//! Requests at a fixed rate, whatever the server makes of them: what a server's latency is when it is
//! not overrun.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::prctl;

use super::report::{Latency, Sample};
use crate::answer;

/// Connections, each with a thread of its own.
const CONNECTIONS: u32 = 32;

/// How much longer than planned a run may take: a server that falls further behind has no latency at
/// this rate.
const SLACK: f64 = 1.1;

/// Asks so many times a second, evenly spread. A request's time counts from the moment that it was
/// due, so that a server that falls behind is not spared the requests that it delays.
///
/// # Errors
///
/// When any answer is not a whole 200, or the server does not keep up.
pub(super) fn run(address: SocketAddr, rate: f64, length: Duration) -> Result<Sample> {
    let interval = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    let start = Instant::now() + Duration::from_millis(100);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let first = start + interval * number / CONNECTIONS;
            thread::spawn(move || ask(address, first, interval, start + length))
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        let asked = thread.join().map_err(|_| anyhow!("a client panicked"))?;
        times.extend(asked?);
    }
    let took = start.elapsed().as_secs_f64();
    ensure!(
        took < length.as_secs_f64() * SLACK,
        "the server does not keep up with {rate:.0} requests/s"
    );
    times.sort();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).copied()
    };
    let percentile = |share| at(share).context("no request was sent");
    Ok(Sample {
        rate: times.len() as f64 / took,
        latency: Some(Latency {
            p50: percentile(0.5)?,
            p99: percentile(0.99)?,
            p999: percentile(0.999)?,
        }),
    })
}

fn ask(
    address: SocketAddr,
    mut due: Instant,
    interval: Duration,
    end: Instant,
) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    // The system may let this thread sleep so many nanoseconds too long; by default 50 µs.
    prctl::set_timerslack(1)?;
    // The first request of a connection costs more, and does not count towards the rate.
    stream.write_all(request.as_bytes())?;
    answer::read(&mut stream)?;
    let mut times = Vec::new();
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request.as_bytes())?;
        answer::read(&mut stream)?;
        times.push(due.elapsed());
        due += interval;
    }
    Ok(times)
}

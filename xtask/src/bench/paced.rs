//! Requests at a fixed rate, whatever the server makes of them: what a server's latency is when it is
//! not overrun.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::report::{Latency, Sample};

/// Connections, each with a thread of its own.
const CONNECTIONS: u32 = 32;

/// Asks so many times a second, evenly spread. A request's time counts from the moment that it was
/// due, so that a server that falls behind is not spared the requests that it delays.
///
/// # Errors
///
/// When any answer is not a whole 200.
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
    times.sort();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).copied()
    };
    let percentile = |share| at(share).context("no request was sent");
    Ok(Sample {
        rate: times.len() as f64 / length.as_secs_f64(),
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
    let mut times = Vec::new();
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request.as_bytes())?;
        answer(&mut stream)?;
        times.push(due.elapsed());
        due += interval;
    }
    Ok(times)
}

/// Reads an answer to its end.
///
/// # Errors
///
/// When it is not a whole 200.
pub(crate) fn answer(stream: &mut TcpStream) -> Result<()> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            bail!("the connection ended before its answer");
        }
        text.extend_from_slice(&piece[..length]);
        if is_whole(&text)? {
            return Ok(());
        }
    }
}

fn is_whole(text: &[u8]) -> Result<bool> {
    let Some(head) = text.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let (head, body) = text.split_at(head + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        bail!("the answer is {head}");
    }
    if head.contains("transfer-encoding: chunked") {
        return Ok(body.ends_with(b"0\r\n\r\n"));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| format!("the answer has no length: {head}"))?;
    Ok(body.len() >= length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so() {
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert!(is_whole(length).unwrap());
        assert!(!is_whole(&length[..length.len() - 1]).unwrap());
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert!(is_whole(chunked).unwrap());
        assert!(!is_whole(&chunked[..chunked.len() - 5]).unwrap());
        assert!(is_whole(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}

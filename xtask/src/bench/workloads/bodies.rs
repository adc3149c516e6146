//! Large bodies.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::built::{Built, Options};
use super::super::machine;
use super::super::report::{Report, Sample, median};
use super::servers::{
    Findings, OURS, REST_CORE, SERVER_CORE, THEIRS, compare_before, ours, ours_and_before, theirs,
};

const LENGTH: usize = 64 << 20;
const MIB: f64 = (1 << 20) as f64;

/// Bytes that are written or read at a time.
const PIECE: usize = 64 * 1024;

/// A thread that moves the bytes, and does nothing else with them: about what the machine allows.
const SOCKETS: &str = "sockets, and nothing else";

/// As many bytes as this server takes from a guest at a time.
const WRITTEN: usize = 63 * 1024;

type Transfer = fn(SocketAddr) -> Result<()>;

/// Uploads that a guest counts, and downloads that it makes.
pub(super) fn run(built: &Built, options: Options) -> Result<Findings> {
    let mut findings = Findings::default();
    let both: [(&str, &str, Transfer); 2] = [
        ("64 MiB up, counted by the guest", "count", upload),
        ("64 MiB down, made by the guest", "download", download),
    ];
    let sockets = sockets()?;
    for (title, guest, transfer) in both {
        let guest = built.guest(guest);
        let mut servers = vec![(THEIRS, theirs(&guest, &[], &[])?)];
        servers.extend(ours_and_before(built, |daemon| {
            ours(daemon, &guest, &[], &[])
        })?);
        for (_, server) in &servers {
            // The first transfer costs more, and does not count.
            transfer(server.address)?;
        }
        transfer(sockets)?;
        let mut report = Report::new(title, "MiB/s");
        let mut times = vec![Vec::new(); servers.len()];
        let length = Duration::from_secs(options.seconds.into());
        for round in 1..=options.rounds {
            for ((name, server), times) in servers.iter().zip(&mut times) {
                options.progress("bodies", round, name);
                let before = server.processor_time()?;
                let (sample, count) =
                    machine::on_core(REST_CORE, || sample(server.address, transfer, length))?;
                let used = server.processor_time()?.saturating_sub(before);
                times.push(used.as_secs_f64() / count);
                report.add(name, sample);
                report.add_memory(name, server.peak_memory()?);
            }
            options.progress("bodies", round, SOCKETS);
            let (sample, _) = machine::on_core(REST_CORE, || sample(sockets, transfer, length))?;
            report.add(SOCKETS, sample);
        }
        findings.remarks.push(report.compare(OURS, THEIRS, 1.5));
        if let (Some(ours), Some(sockets)) = (report.rate(OURS), report.rate(SOCKETS)) {
            findings
                .remarks
                .push(format!("- {OURS} to {SOCKETS}: {:.2}", ours / sockets));
        }
        findings.remarks.extend(compare_before(built, &report));
        for ((name, _), times) in servers.iter().zip(times) {
            let time = median(times) * 1e3;
            findings.remarks.push(format!(
                "- processor time of {name} for {title}: {time:.1} ms"
            ));
        }
        findings.reports.push(report);
    }
    Ok(findings)
}

/// Starts [`SOCKETS`], which runs until the process ends.
fn sockets() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        machine::on_core(SERVER_CORE, || -> Result<()> {
            loop {
                // A client that fails says so itself.
                let _ = listener.accept().and_then(|(stream, _)| move_bytes(stream));
            }
        })
    });
    Ok(address)
}

fn move_bytes(mut stream: TcpStream) -> io::Result<()> {
    // As the servers do.
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut left = LENGTH;
    if head.starts_with(b"GET ") {
        let piece = vec![b'x'; WRITTEN];
        while left > 0 {
            let length = left.min(WRITTEN);
            stream.write_all(&piece[..length])?;
            left -= length;
        }
        stream.write_all(b"0\r\n\r\n")
    } else {
        let mut piece = vec![0; PIECE];
        while left > 0 {
            match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => left = left.saturating_sub(length),
            }
        }
        write!(stream, "{LENGTH}")
    }
}

/// Transfers one body after the other for about so long, and counts them.
fn sample(address: SocketAddr, transfer: Transfer, length: Duration) -> Result<(Sample, f64)> {
    let begun = Instant::now();
    let mut count = 0.0;
    while begun.elapsed() < length {
        transfer(address)?;
        count += 1.0;
    }
    let rate = count * LENGTH as f64 / MIB / begun.elapsed().as_secs_f64();
    let sample = Sample {
        rate,
        latency: None,
    };
    Ok((sample, count))
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

fn upload(address: SocketAddr) -> Result<()> {
    let mut stream = connect(address)?;
    write!(
        stream,
        "PUT / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n"
    )?;
    let piece = vec![b'x'; PIECE];
    for _ in 0..LENGTH / PIECE {
        stream.write_all(&piece)?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let is_counted = answer.starts_with("HTTP/1.1 200 ") && answer.contains(&LENGTH.to_string());
    is_counted
        .then_some(())
        .with_context(|| format!("the answer is {answer:?}"))
}

fn download(address: SocketAddr) -> Result<()> {
    let mut stream = connect(address)?;
    write!(
        stream,
        "GET /?{LENGTH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut piece = vec![0; PIECE];
    let (mut total, mut end) = (0, Vec::new());
    let mut first = true;
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            break;
        }
        if std::mem::take(&mut first) && !piece.starts_with(b"HTTP/1.1 200 ") {
            bail!(
                "the answer is {}",
                String::from_utf8_lossy(&piece[..length.min(200)])
            );
        }
        total += length;
        end.extend_from_slice(&piece[length.saturating_sub(5)..length]);
        end.drain(..end.len().saturating_sub(5));
    }
    // In chunks, whose frames come on top.
    if total < LENGTH || end != b"0\r\n\r\n" {
        bail!("the answer of {total} bytes is cut off");
    }
    Ok(())
}

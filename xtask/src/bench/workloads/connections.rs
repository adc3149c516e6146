//! What many connections without requests cost.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::built::{Built, Options};
use super::super::report::reached;
use super::servers::{Findings, ours};
use crate::answer;
use crate::server::{Server, request};

const CONNECTIONS: u64 = 10_000;

/// How long all connections are idle before they count.
const IDLE: Duration = Duration::from_secs(5);

/// Ten thousand connections that have had one request each.
pub(super) fn run(built: &Built, options: Options) -> Result<Findings> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    if hard < CONNECTIONS + 1000 {
        bail!("only {hard} files may be open here, and {CONNECTIONS} connections are wanted");
    }
    let server = ours(&built.daemon, &built.guest("hello"), &[], &[])?;
    options.progress("idle", 1, "10,000 connections");
    // What requests take as such is there already.
    let warm: Vec<_> = (0..200).map(|_| ask(&server)).collect::<Result<_>>()?;
    thread::sleep(IDLE);
    let before = server.resident_memory()?;
    let open: Vec<_> = (0..CONNECTIONS)
        .map(|_| ask(&server))
        .collect::<Result<_>>()?;
    thread::sleep(IDLE);
    let after = server.resident_memory()?;
    for stream in &open {
        stream.set_nonblocking(true)?;
        let still = stream.peek(&mut [0]);
        let is_open = still.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        ensure!(
            is_open,
            "the server has closed connections that were to be idle"
        );
    }
    drop((warm, open));
    let each = after.saturating_sub(before) as f64 / 1024.0 / CONNECTIONS as f64;
    Ok(Findings {
        remarks: vec![format!(
            "- memory of each idle connection: {each:.1} KiB; wanted: at most 20 KiB: {}",
            reached(each <= 20.0)
        )],
        ..Findings::default()
    })
}

/// A connection that has had its answer.
pub(super) fn ask(server: &Server) -> Result<TcpStream> {
    let mut stream = request(server.address, &[])?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    answer::read(&mut stream)?;
    Ok(stream)
}

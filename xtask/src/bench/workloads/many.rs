//! What many applications, and many connections, cost in memory.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::server::{Server, request};
use super::super::{Built, Options};
use super::{Findings, SERVER, ours};

const APPLICATIONS: u64 = 1000;
const CONNECTIONS: u64 = 10_000;

/// A thousand applications of one component.
pub(super) fn applications(built: &Built, options: Options) -> Result<Findings> {
    options.progress("applications", 1, "one application");
    let few = daemon(built, 1)?.0.resident_memory()?;
    options.progress("applications", 1, "1,000 applications");
    let (server, took) = daemon(built, APPLICATIONS)?;
    let many = server.resident_memory()?;
    let each = many.saturating_sub(few) as f64 / 1024.0 / (APPLICATIONS - 1) as f64;
    Ok(Findings {
        remarks: vec![
            format!(
                "- memory of each further application of the same component: {each:.1} KiB; \
                 wanted: at most 256 KiB: {}",
                verdict(each <= 256.0)
            ),
            format!(
                "- 1,000 applications are there, and answer, after {:.2} s; wanted: below 5 s: {}",
                took.as_secs_f64(),
                verdict(took < Duration::from_secs(5))
            ),
        ],
        ..Findings::default()
    })
}

/// A daemon with so many applications that answers, and how long that took from its configuration.
fn daemon(built: &Built, applications: u64) -> Result<(Server, Duration)> {
    let mut server = Server::start(&built.daemon, SERVER, |command, _, folder| {
        command.arg("--control");
        command.arg(format!("unix:{}", folder.join("control.sock").display()));
        command.arg("--statedir").arg(folder.join("state"));
    })?;
    let mut text = format!(
        r#"{{"listeners": {{"{}": {{"pass": "applications/a0"}}}}, "applications": {{"#,
        server.address
    );
    let component = built.guest("hello");
    for number in 0..applications {
        let comma = if number == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{comma}"a{number}": {{"type": "wasm-wasi-component", "component": {component:?}}}"#
        );
    }
    text.push_str("}}");
    let begun = Instant::now();
    server.configure(&text)?;
    let server = server.ready(&[])?;
    Ok((server, begun.elapsed()))
}

/// Ten thousand connections that have had one request each.
pub(super) fn connections(built: &Built, options: Options) -> Result<Findings> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    if hard < CONNECTIONS + 1000 {
        bail!("only {hard} files may be open here, and {CONNECTIONS} connections are wanted");
    }
    let server = ours(built, &built.guest("hello"), &[], &[])?;
    options.progress("idle", 1, "10,000 connections");
    let ask = || -> Result<TcpStream> {
        let mut stream = request(server.address, &[])?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answer = [0; 512];
        let length = stream.read(&mut answer)?;
        let text = String::from_utf8_lossy(&answer[..length]);
        text.contains(" 200 ")
            .then_some(stream)
            .with_context(|| format!("the answer is {text:?}"))
    };
    // What requests take as such is there already.
    let warm: Vec<_> = (0..200).map(|_| ask()).collect::<Result<_>>()?;
    let before = server.resident_memory()?;
    let open: Vec<_> = (0..CONNECTIONS).map(|_| ask()).collect::<Result<_>>()?;
    let after = server.resident_memory()?;
    drop((warm, open));
    let each = after.saturating_sub(before) as f64 / 1024.0 / CONNECTIONS as f64;
    Ok(Findings {
        remarks: vec![format!(
            "- memory of each idle connection: {each:.1} KiB; wanted: at most 20 KiB: {}",
            verdict(each <= 20.0)
        )],
        ..Findings::default()
    })
}

fn verdict(is_reached: bool) -> &'static str {
    if is_reached {
        "reached"
    } else {
        "**not reached**"
    }
}

//! What many applications of one component cost.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

use super::super::built::{Built, Options};
use super::super::report::reached;
use super::connections::ask;
use super::servers::{Findings, SERVER};
use crate::server::Server;

const APPLICATIONS: u64 = 1000;

/// A thousand applications of one component, each of which has answered a request.
pub(super) fn run(built: &Built, options: Options) -> Result<Findings> {
    // What compiling takes is not to be seen: none of those that count does.
    let cache = TempDir::new()?;
    let cache = cache.path().join("compiled");
    drop(daemon(built, 1, &cache)?);
    options.progress("applications", 1, "one application");
    let (server, _) = daemon(built, 1, &cache)?;
    visit(&server, 1)?;
    let few = server.resident_memory()?;
    drop(server);
    options.progress("applications", 1, "1,000 applications");
    let (server, took) = daemon(built, APPLICATIONS, &cache)?;
    visit(&server, APPLICATIONS)?;
    let many = server.resident_memory()?;
    let each = many.saturating_sub(few) as f64 / 1024.0 / (APPLICATIONS - 1) as f64;
    Ok(Findings {
        remarks: vec![
            format!(
                "- memory of each further application of the same component: {each:.1} KiB; \
                 wanted: at most 256 KiB: {}",
                reached(each <= 256.0)
            ),
            format!(
                "- 1,000 applications are there, and answer, {:.2} s after they are configured; \
                 wanted: below 5 s: {}",
                took.as_secs_f64(),
                reached(took < Duration::from_secs(5))
            ),
        ],
        ..Findings::default()
    })
}

/// A daemon with so many applications that answers, and how long that took from its configuration.
fn daemon(built: &Built, applications: u64, cache: &Path) -> Result<(Server, Duration)> {
    let server = Server::start(&built.daemon, SERVER, |command, _, folder| {
        command.arg("--control");
        command.arg(format!("unix:{}", folder.join("control.sock").display()));
        command.arg("--statedir").arg(folder.join("state"));
        command.arg("--cachedir").arg(cache);
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
    server.configure("/config/", &text)?;
    let server = server.ready(&[])?;
    Ok((server, begun.elapsed()))
}

/// Asks each application once.
fn visit(server: &Server, applications: u64) -> Result<()> {
    let pass = format!("/config/listeners/{}/pass", server.address);
    for number in 0..applications {
        server.configure(&pass, &format!("\"applications/a{number}\""))?;
        ask(server)?;
    }
    Ok(())
}

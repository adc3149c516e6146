//! Answers that no component makes.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Result;

use super::super::built::{Built, Options};
use super::super::report::{Report, verdict};
use super::super::unit;
use super::requests::{Asked, HYPER, baseline, compare};
use super::servers::{Findings, OURS, SERVER, compare_before, configured, ours_and_before};

const UNITD: &str = "unitd";

/// `return`.
pub(super) fn answer(built: &Built, options: Options) -> Result<Findings> {
    let configuration = |address: SocketAddr| routes(address, r#"{"action": {"return": 200}}"#);
    let mut servers = vec![(HYPER, baseline(built, SERVER, None)?)];
    servers.extend(ours_and_before(built, |daemon| {
        configured(daemon, SERVER, configuration)
    })?);
    let unitd = unit::configured(built, SERVER, configuration)?;
    servers.extend(unitd.map(|server| (UNITD, server)));
    let report = compare(&asked("return", "`return` of 200"), &servers, options)?;
    let mut remarks = vec![
        report.compare(OURS, HYPER, 0.8),
        report.compare(OURS, UNITD, 0.7),
    ];
    remarks.extend(compare_before(built, &report));
    Ok(Findings {
        remarks,
        reports: vec![report],
    })
}

/// `share`.
pub(super) fn file(built: &Built, options: Options) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    // unitd may serve it as another user.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    fs::write(folder.path().join("index.html"), [b'x'; 1024])?;
    let configuration = |address: SocketAddr| routes(address, &share(folder.path()));
    let mut servers = ours_and_before(built, |daemon| configured(daemon, SERVER, configuration))?;
    let unitd = unit::configured(built, SERVER, configuration)?;
    servers.extend(unitd.map(|server| (UNITD, server)));
    let report = compare(&asked("static", "a file of 1 KiB"), &servers, options)?;
    let mut remarks = vec![report.compare(OURS, UNITD, 0.7)];
    remarks.extend(compare_before(built, &report));
    Ok(Findings {
        remarks,
        reports: vec![report],
    })
}

/// Many steps, of which the last one matches, and one step.
pub(super) fn steps(built: &Built, options: Options) -> Result<Findings> {
    const ONE: &str = "wasmtime-unitd, one step";
    const MANY: &str = "wasmtime-unitd, 1,000 steps";
    let few = |address: SocketAddr| routes(address, &table(1));
    let many = |address: SocketAddr| routes(address, &table(1000));
    let mut servers = vec![
        (ONE, configured(&built.daemon, SERVER, few)?),
        (MANY, configured(&built.daemon, SERVER, many)?),
    ];
    let unitd = unit::configured(built, SERVER, many)?;
    servers.extend(unitd.map(|server| ("unitd, 1,000 steps", server)));
    let report = compare(
        &asked("routes", "the last of many steps"),
        &servers,
        options,
    )?;
    Ok(Findings {
        remarks: vec![longer(&report, MANY, ONE)],
        reports: vec![report],
    })
}

/// How much longer a request takes than another.
fn longer(report: &Report, row: &str, base: &str) -> String {
    let rates = report.rate(base).zip(report.rate(row));
    let ratio = rates.map(|(base, row)| base / row);
    verdict(
        &format!("time for a request, {row}"),
        base,
        ratio,
        "at most",
        3.0,
    )
}

fn asked<'a>(name: &'a str, title: &'a str) -> Asked<'a> {
    Asked {
        name,
        title,
        fields: &[],
        body: 0,
    }
}

/// A configuration whose only listener has these steps.
fn routes(address: SocketAddr, steps: &str) -> String {
    format!(r#"{{"listeners": {{"{address}": {{"pass": "routes"}}}}, "routes": [{steps}]}}"#)
}

fn share(folder: &Path) -> String {
    let path = format!("{}$uri", folder.display());
    format!(r#"{{"action": {{"share": {path:?}}}}}"#)
}

/// So many steps, the last of which is for `/`.
fn table(steps: u32) -> String {
    let mut text = String::new();
    for number in 1..steps {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"match": {{"uri": "/part/{number}/*"}}, "action": {{"return": 404}}}},"#
        );
    }
    text.push_str(r#"{"match": {"uri": "/"}, "action": {"return": 200}}"#);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_as_many_steps_as_asked_for() {
        assert_eq!(table(1).matches("\"match\"").count(), 1);
        assert_eq!(table(1000).matches("\"match\"").count(), 1000);
        assert!(table(1000).ends_with(&table(1)));
    }
}

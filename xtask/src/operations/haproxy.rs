//! HAProxy in front of servers: its configuration, and its counters.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::wait::within;
use crate::toolchains::debian::InstalledProgram;

/// How long it may take to open its sockets.
const START: Duration = Duration::from_secs(20);

/// How long it may take to answer what its counters are.
const ANSWER: Duration = Duration::from_secs(10);

/// What must be 0 everywhere: errors that a client sees, and such as HAProxy would make up for.
const FAULTS: [&str; 12] = [
    "ereq", "econ", "eresp", "dreq", "dresp", "wretr", "wredis", "cli_abrt", "srv_abrt",
    "hrsp_3xx", "hrsp_4xx", "hrsp_5xx",
];

/// A server, as HAProxy finds it.
pub(super) struct BalancedServer {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// Where its health is asked for.
    pub(super) health: SocketAddr,
}

/// A running HAProxy. Dropping it ends it.
pub(super) struct Haproxy {
    child: Child,
    socket: PathBuf,
}

impl Haproxy {
    /// Starts it. Its log is `haproxy.log` in the folder.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(
        program: &InstalledProgram,
        folder: &Path,
        address: SocketAddr,
        servers: &[BalancedServer],
    ) -> Result<Self> {
        let socket = folder.join("haproxy.sock");
        let config = folder.join("haproxy.cfg");
        fs::write(&config, configuration(&socket, address, servers))
            .with_context(|| config.display().to_string())?;
        let log = folder.join("haproxy.log");
        let log = File::create(&log).with_context(|| log.display().to_string())?;
        let child = program
            .command()
            .arg("-f")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start haproxy")?;
        let mut haproxy = Self { child, socket };
        within(START, "the start of haproxy", || {
            if let Some(status) = haproxy.child.try_wait()? {
                bail!("haproxy has ended: {status}");
            }
            Ok(haproxy.counters().ok())
        })?;
        Ok(haproxy)
    }

    /// What it has counted so far.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub(super) fn counters(&self) -> Result<HaproxyCounters> {
        let mut stream = UnixStream::connect(&self.socket).context("haproxy's socket")?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"show stat\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        HaproxyCounters::parse(&text)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks decide alone: a request that fails is neither repeated nor sent to the other server.
fn configuration(socket: &Path, address: SocketAddr, servers: &[BalancedServer]) -> String {
    let mut text = format!(
        "global
    stats socket {} mode 600
    stats timeout 60s
    maxconn 400
    log stdout format raw local0 info
defaults
    mode http
    log global
    option httplog
    option dontlog-normal
    # wrk opens a connection at its start, and closes it.
    option http-ignore-probes
    retries 0
    timeout connect 10s
    timeout client 30s
    timeout server 30s
    timeout check 1s
frontend clients
    bind {address}
    default_backend servers
backend servers
    balance roundrobin
    http-reuse always
    option httpchk GET /ready
    http-check expect status 200
    default-server check inter 100ms fall 2 rise 1
",
        socket.display()
    );
    for server in servers {
        let BalancedServer {
            name,
            address,
            health,
        } = server;
        text.push_str(&format!(
            "    server {name} {address} check addr {} port {}\n",
            health.ip(),
            health.port()
        ));
    }
    text
}

/// HAProxy's counters, each row by its name: that of a server, `FRONTEND` or `BACKEND`.
pub(super) struct HaproxyCounters {
    rows: HashMap<String, HashMap<String, String>>,
}

impl HaproxyCounters {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let heading = lines.next().and_then(|line| line.strip_prefix("# "));
        let names: Vec<_> = heading.context("no heading")?.split(',').collect();
        let mut rows = HashMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let values = line.split(',').map(str::to_owned);
            let row: HashMap<_, _> = names.iter().map(ToString::to_string).zip(values).collect();
            let name = row.get("svname").context("a row without a name")?;
            rows.insert(name.clone(), row);
        }
        Ok(Self { rows })
    }

    /// Whether HAProxy has seen that the server is ready, and sends requests to it.
    ///
    /// # Errors
    ///
    /// When there is no such server.
    pub(super) fn is_up(&self, server: &str) -> Result<bool> {
        // Until its first check, a server counts as UP.
        Ok(self.value(server, "status")? == "UP"
            && self.value(server, "check_status")?.ends_with("L7OK"))
    }

    /// The number of answers with a status of 200 to 299.
    ///
    /// # Errors
    ///
    /// When there is no such row.
    pub(super) fn answers(&self, row: &str) -> Result<u64> {
        let text = self.value(row, "hrsp_2xx")?;
        text.parse().with_context(|| format!("hrsp_2xx={text}"))
    }

    /// Checks that no request has failed.
    ///
    /// # Errors
    ///
    /// When one has.
    pub(super) fn require_no_fault(&self) -> Result<()> {
        for (name, row) in &self.rows {
            for fault in FAULTS {
                // Not each is counted in each row.
                let value = row.get(fault).map_or("", String::as_str);
                ensure!(
                    ["", "0"].contains(&value),
                    "haproxy has counted {fault}={value} for {name}"
                );
            }
        }
        Ok(())
    }

    fn value(&self, row: &str, name: &str) -> Result<&str> {
        let value = self.rows.get(row).and_then(|row| row.get(name));
        let value = value.with_context(|| format!("haproxy has no {name} for {row}"))?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# pxname,svname,econ,eresp,status,wretr,hrsp_2xx,hrsp_5xx,check_status,
clients,FRONTEND,,,OPEN,,70,0,,
servers,a,0,0,UP,0,40,0,L7OK,
servers,b,0,0,UP,0,30,0,* L4CON,

";

    #[test]
    fn a_server_is_up_after_a_check_that_has_succeeded() {
        let counters = HaproxyCounters::parse(TEXT).unwrap();
        assert!(counters.is_up("a").unwrap() && !counters.is_up("b").unwrap());
        assert!(counters.is_up("c").is_err());
        assert_eq!(counters.answers("FRONTEND").unwrap(), 70);
        assert!(HaproxyCounters::parse("Unknown command\n").is_err());
    }

    #[test]
    fn a_failed_request_is_a_fault_in_whatever_row() {
        let check = |text: &str| HaproxyCounters::parse(text).unwrap().require_no_fault();
        check(TEXT).unwrap();
        assert!(check(&TEXT.replace("b,0,0,UP,0", "b,0,0,UP,1")).is_err());
        assert!(check(&TEXT.replace("OPEN,,70,0", "OPEN,,70,3")).is_err());
    }
}

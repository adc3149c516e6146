//! Requests of one application beside another one that takes all that it can get.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::super::built::{Built, Options};
use super::super::report::{Report, Sample};
use super::super::{machine, paced};
use super::servers::{BEFORE, Findings, OURS, REST_CORE, SERVER};
use crate::server::Server;

/// Requests per second of the application that is not to notice.
const RATE: f64 = 500.0;

/// How many times its p99 alone the p99 beside an attack may be.
const MOST: f64 = 3.0;

/// How long an attack runs before measuring starts.
const BEGINNING: Duration = Duration::from_secs(2);

/// How long a client of the attack waits for anything before it looks whether it is over.
const ATTACK_READ_TIMEOUT: Duration = Duration::from_millis(200);

/// Bytes of stack of a client's thread.
const CLIENT_STACK: usize = 256 << 10;

const ALONE: &str = "alone";

/// The beginning of a status line, and how that of a success continues.
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";
const SUCCESS: &[u8] = b"HTTP/1.1 200 ";

/// Applications that others suffer from.
const GUESTS: [&str; 8] = [
    "memory_bomb",
    "sleep",
    "files",
    "spin",
    "compute",
    "fetch",
    "error_code",
    "hello",
];

/// What the clients of an attack do, all at once.
struct Attack {
    name: &'static str,
    /// Whose requests it sends, by the name of the guest; the same clients for each.
    guests: &'static [&'static str],
    target: &'static str,
    clients: u32,
    /// Requests that a client has in flight.
    pipelined: usize,
}

const ATTACKS: [Attack; 9] = [
    Attack {
        name: "memory bombs, 16 at a time",
        guests: &["memory_bomb"],
        target: "/",
        clients: 16,
        pipelined: 1,
    },
    Attack {
        name: "guests of two applications that sleep, 800 requests each",
        guests: &["sleep", "sleep-2"],
        target: "/?60000",
        clients: 800,
        pipelined: 1,
    },
    Attack {
        name: "guests that hold open what files they can, 30",
        guests: &["files"],
        target: "/?open=/data/file&950&60000",
        clients: 30,
        pipelined: 1,
    },
    Attack {
        name: "guests in endless loops, 100",
        guests: &["spin"],
        target: "/",
        clients: 100,
        pipelined: 1,
    },
    Attack {
        name: "guests that compute for 4 ms, 50 at a time",
        guests: &["compute"],
        target: "/?before=4",
        clients: 50,
        pipelined: 1,
    },
    Attack {
        name: "outgoing requests to a silent server, 600",
        guests: &["fetch"],
        target: "/",
        clients: 600,
        pipelined: 1,
    },
    Attack {
        name: "error codes of 100 KB, 16 at a time",
        guests: &["error_code"],
        target: "/?long",
        clients: 16,
        pipelined: 1,
    },
    Attack {
        name: "small requests, 64 at a time",
        guests: &["hello"],
        target: "/",
        clients: 64,
        pipelined: 1,
    },
    Attack {
        name: "small requests, 64 clients with 50 in flight each",
        guests: &["hello"],
        target: "/",
        clients: 64,
        pipelined: 50,
    },
];

/// One application under each attack, and the requests of another.
pub(super) fn run(built: &Built, options: Options) -> Result<Findings> {
    let mut findings = Findings::default();
    let daemons = [(OURS, Some(&built.daemon)), (BEFORE, built.before.as_ref())];
    for (name, daemon) in daemons {
        let Some(daemon) = daemon else { continue };
        let mut report = Report::new(
            format!("hello of {name}, {RATE} requests/s, beside another application"),
            "requests/s",
        );
        let (alone, _) = Served::start(built, daemon)?.measure(None, options)?;
        alone.iter().for_each(|sample| report.add(ALONE, *sample));
        for attack in &ATTACKS {
            options.progress("fairness", 1, attack.name);
            // A new server each time, so that nothing of the last one still runs.
            match Served::start(built, daemon)?.measure(Some(attack), options) {
                Ok((samples, answers)) => {
                    samples.iter().for_each(|it| report.add(attack.name, *it));
                    let mut remark = report.compare_p99(attack.name, ALONE, MOST);
                    // Writing to a string cannot fail.
                    let _ = write!(remark, "; the attack was answered with {answers}");
                    findings.remarks.push(remark);
                }
                // Requests that fail are what is looked for.
                Err(error) => findings.remarks.push(format!(
                    "- {name}, {}: **not served**: {error:#}",
                    attack.name
                )),
            }
        }
        findings.reports.push(report);
    }
    Ok(findings)
}

/// A server with all the guests, and where each listens.
struct Served {
    server: Server,
    guests: BTreeMap<&'static str, SocketAddr>,
    silent: SocketAddr,
}

impl Served {
    fn start(built: &Built, daemon: &Path) -> Result<Self> {
        let silent = silent_server()?;
        let server = Server::start(daemon, SERVER, |command, _, folder| {
            command.arg("--control");
            command.arg(format!("unix:{}", folder.join("control.sock").display()));
            command.arg("--statedir").arg(folder.join("state"));
        })?;
        let data = server.folder().join("data");
        fs::create_dir(&data)?;
        fs::write(data.join("file"), "content")?;
        let mut guests = BTreeMap::new();
        // Until all ports are known, so that none is given twice.
        let mut reserved = Vec::new();
        let mut listeners = format!(r#""{}": {{"pass": "applications/served"}}"#, server.address);
        let mut applications = application(built, "served", "hello", "");
        for name in GUESTS.into_iter().chain(["sleep-2"]) {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            guests.insert(name, address);
            reserved.push(listener);
            let access = match name {
                "files" => format!(
                    r#", "access": {{"filesystem": [{{"path": {data:?}, "as": "/data"}}]}}"#
                ),
                "fetch" => format!(r#", "access": {{"outbound_http": ["http://{silent}"]}}"#),
                _ => String::new(),
            };
            let guest = name.trim_end_matches("-2");
            let limits = r#", "limits": {"timeout": 120, "execution_timeout": 120}"#;
            // Writing to a string cannot fail.
            let _ = write!(
                listeners,
                r#", "{address}": {{"pass": "applications/{name}"}}"#
            );
            let options = format!("{limits}{access}");
            let _ = write!(
                applications,
                ", {}",
                application(built, name, guest, &options)
            );
        }
        drop(reserved);
        server.configure(
            "/config/",
            &format!(r#"{{"listeners": {{{listeners}}}, "applications": {{{applications}}}}}"#),
        )?;
        Ok(Self {
            server: server.ready(&[])?,
            guests,
            silent,
        })
    }

    /// The requests of the one application beside an attack, and how that was answered.
    fn measure(&self, attack: Option<&Attack>, options: Options) -> Result<(Vec<Sample>, String)> {
        let clients = attack.map(|attack| {
            // Their threads stay on that core, too, and do not hold up those that measure.
            machine::on_core(REST_CORE, || {
                machine::lower_priority()?;
                Clients::start(self, attack)
            })
        });
        let clients = clients.transpose()?;
        thread::sleep(BEGINNING);
        let paced = |seconds: u32| {
            let length = Duration::from_secs(seconds.into());
            machine::on_core(REST_CORE, || paced::run(self.server.address, RATE, length))
        };
        paced(1)?;
        let samples = (0..options.rounds)
            .map(|_| paced(options.seconds))
            .collect::<Result<Vec<_>>>()?;
        let answers = clients.as_ref().map(Clients::answers).unwrap_or_default();
        Ok((samples, answers))
    }
}

fn application(built: &Built, name: &str, guest: &str, options: &str) -> String {
    let component = built.guest(guest);
    format!(r#""{name}": {{"type": "wasm-wasi-component", "component": {component:?}{options}}}"#)
}

/// A server that takes every connection, and answers nothing, until the process ends.
fn silent_server() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            kept.push(stream);
        }
    });
    Ok(address)
}

/// The clients of an attack. Each has a thread, on the core of all that is not measured.
struct Clients {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    successes: AtomicU64,
    failures: AtomicU64,
}

impl Clients {
    fn start(served: &Served, attack: &Attack) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: a\r\nx-fetch: GET http://{}/\r\n\r\n",
            attack.target, served.silent
        );
        let request: Arc<str> = request.repeat(attack.pipelined).into();
        let mut threads = Vec::new();
        for guest in attack.guests {
            let address = *(served.guests.get(guest)).context("there is no such guest")?;
            for _ in 0..attack.clients {
                let (shared, request) = (Arc::clone(&shared), Arc::clone(&request));
                let pipelined = attack.pipelined;
                let thread = thread::Builder::new().stack_size(CLIENT_STACK);
                threads.push(thread.spawn(move || {
                    while !shared.is_over.load(Ordering::Relaxed) {
                        // A connection that is refused, or ends, is followed by the next.
                        let _ = attack_once(address, &request, pipelined, &shared);
                    }
                })?);
            }
        }
        Ok(Self { threads, shared })
    }

    /// How the attack has been answered so far.
    fn answers(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} times 200 and {} errors",
            of(&self.shared.successes),
            of(&self.shared.failures)
        )
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has nothing to say.
            let _ = thread.join();
        }
    }
}

/// Sends requests on one connection, and more when there are answers, until it or the attack ends.
fn attack_once(
    address: SocketAddr,
    request: &str,
    pipelined: usize,
    shared: &Shared,
) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ATTACK_READ_TIMEOUT))?;
    let mut piece = vec![0; 16 << 10];
    loop {
        stream.write_all(request.as_bytes())?;
        let (mut answers, mut kept) = (0, 0);
        while answers < pipelined {
            let length = match stream.read(&mut piece[kept..]) {
                Ok(0) => return Err(anyhow!("it ended")),
                Ok(length) => length,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if shared.is_over.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let end = kept + length;
            let (all, successes) = count_answers(&piece[..end]);
            // Of what has been looked at, the beginning of a status line perhaps.
            kept = end.min(SUCCESS.len() - 1);
            piece.copy_within(end - kept..end, 0);
            shared
                .successes
                .fetch_add(successes as u64, Ordering::Relaxed);
            shared
                .failures
                .fetch_add((all - successes) as u64, Ordering::Relaxed);
            answers += all;
        }
        if shared.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

/// The status lines that begin here, and those of them that say 200.
fn count_answers(bytes: &[u8]) -> (usize, usize) {
    let lines = bytes.windows(SUCCESS.len());
    let lines = lines.filter(|line| line.starts_with(STATUS_LINE));
    lines.fold((0, 0), |(all, successes), line| {
        (all + 1, successes + usize::from(line == SUCCESS))
    })
}

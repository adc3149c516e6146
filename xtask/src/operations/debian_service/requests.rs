//! A client in the network of the machine under test: single requests, and a loop of them while something else happens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use crate::answer;

/// How long an answer may take: that of a restart of the server, on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Between two requests of a loop.
const PAUSE: Duration = Duration::from_millis(2);

/// How many failures of a loop are shown.
const SHOWN: usize = 5;

/// A client of one address, in the network of the machine.
#[derive(Clone)]
pub(super) struct MachineClient {
    /// Not that of this process.
    network: Arc<File>,
    address: SocketAddr,
    /// A text in each answer that is expected.
    expected: &'static [&'static str],
}

/// How often each answer came.
pub(super) type Answers = BTreeMap<&'static str, usize>;

/// Requests one after another, each on a new connection, until it is stopped.
pub(super) struct RequestLoop {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Counted>>,
}

#[derive(Default)]
struct Counted {
    answers: Answers,
    failures: Vec<String>,
    slowest: Duration,
}

impl MachineClient {
    /// In the network of a process.
    pub(super) fn new(
        process: u32,
        address: SocketAddr,
        expected: &'static [&'static str],
    ) -> Result<Self> {
        let network = format!("/proc/{process}/ns/net");
        let network = Arc::new(File::open(&network).context(network)?);
        Ok(Self {
            network,
            address,
            expected,
        })
    }

    /// Which of the answers a request gets.
    ///
    /// # Errors
    ///
    /// When it gets none of them.
    pub(super) fn get(&self, path: &str) -> Result<&'static str> {
        let (clients, path) = (self.clone(), path.to_owned());
        join(thread::spawn(move || {
            clients.enter()?;
            clients.request(&path)
        }))
    }

    /// Begins a loop of requests.
    pub(super) fn begin(&self, path: &str) -> RequestLoop {
        let stop = Arc::new(AtomicBool::new(false));
        let (clients, path, until) = (self.clone(), path.to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            clients.enter()?;
            let mut counted = Counted::default();
            while !until.load(Ordering::Relaxed) {
                let started = Instant::now();
                match clients.request(&path) {
                    Ok(answer) => *counted.answers.entry(answer).or_default() += 1,
                    Err(error) => counted.failures.push(format!("{error:#}")),
                }
                counted.slowest = counted.slowest.max(started.elapsed());
                thread::sleep(PAUSE);
            }
            Ok(counted)
        });
        RequestLoop { stop, thread }
    }

    /// Moves this thread into the network of the machine.
    fn enter(&self) -> Result<()> {
        setns(&*self.network, CloneFlags::CLONE_NEWNET).context("the network of the machine")
    }

    fn request(&self, path: &str) -> Result<&'static str> {
        let mut stream = TcpStream::connect_timeout(&self.address, LIMIT).context("connect")?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        )?;
        let answer = answer::read_whole(&mut stream)?;
        let answer = String::from_utf8_lossy(&answer);
        let mut expected = self.expected.iter().copied();
        let found = expected.find(|expected| answer.contains(expected));
        found.with_context(|| format!("an unexpected answer: {answer}"))
    }
}

impl RequestLoop {
    /// Ends it. Gives the answers.
    ///
    /// # Errors
    ///
    /// When a request failed.
    pub(super) fn end(self) -> Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        let counted = join(self.thread)?;
        let failed = counted.failures.len();
        if failed > 0 {
            let shown = &counted.failures[..failed.min(SHOWN)];
            bail!(
                "{failed} requests failed, and {} did not: {}",
                counted.answers.values().sum::<usize>(),
                shown.join("; ")
            );
        }
        println!(
            "xtask: answers: {:?}, the slowest after {} ms; none failed",
            counted.answers,
            counted.slowest.as_millis()
        );
        Ok(counted.answers)
    }
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    let joined = thread.join();
    joined.map_err(|_| anyhow!("a client panicked"))?
}

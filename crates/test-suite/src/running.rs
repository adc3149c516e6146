//! A running server: its process, files, addresses and control API.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use test_components::World;

use crate::{Client, DEADLINE, FrontEnd, LONG, configuration, control, processes, within};

/// A running server, which is killed on drop. If the test fails, its log is printed.
pub struct Running {
    child: Child,
    directory: TempDir,
    addresses: BTreeMap<String, SocketAddr>,
    world: World,
}

impl Running {
    /// Starts a server with a configuration in which each `{name}` becomes a free address.
    ///
    /// # Panics
    ///
    /// When the server does not start, or refuses the configuration.
    #[must_use]
    pub fn start(front: &impl FrontEnd, configuration: &str) -> Self {
        let mut running = Self::idle(front);
        let configuration = configuration.replacen('{', &format!("{{{}", front.settings()), 1);
        for _ in 0..3 {
            let (status, answer) = running.put("/config", &configuration);
            if status == 200 {
                return running;
            }
            assert!(answer.contains("in use"), "{status}: {answer}");
            // Another process took an address after it was found free.
            running.addresses.clear();
        }
        panic!("no address stays free");
    }

    /// Starts a server that serves these guests, each as the application of its name, on the
    /// address of its name.
    #[must_use]
    pub fn guests(front: &impl FrontEnd, names: &[&str]) -> Self {
        Self::start(front, &configuration::guests(names))
    }

    /// The same, for cases that do not change the server's state: concurrent ones share a server.
    #[must_use]
    pub fn shared(front: &impl FrontEnd, names: &[&str]) -> Arc<Self> {
        static SHARED: Mutex<BTreeMap<(World, String), Weak<Running>>> =
            Mutex::new(BTreeMap::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shared.entry((front.world(), names.join(" "))).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let running = Arc::new(Self::guests(front, names));
            *entry = Arc::downgrade(&running);
            running
        })
    }

    /// Starts a server without a configuration.
    #[must_use]
    pub fn idle(front: &impl FrontEnd) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let command = front.command(directory.path());
        let mut running = Self::launch(command, directory);
        running.world = front.world();
        running
    }

    /// Runs `command` as the server that has its files in `directory`.
    ///
    /// # Panics
    ///
    /// When its control API does not answer.
    #[must_use]
    pub fn launch(command: Command, directory: TempDir) -> Self {
        let child = spawn(command, directory.path());
        let mut running = Self {
            child,
            directory,
            addresses: BTreeMap::new(),
            world: World::default(),
        };
        running.wait_until_ready();
        running
    }

    /// Restarts the server in the same folder, after it has ended.
    pub fn start_again(&mut self, front: &impl FrontEnd) {
        self.child = spawn(front.command(self.directory.path()), self.directory.path());
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let socket = self.control_socket();
        within(LONG, "the control API answers", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server has ended: {status}\n{}", self.errors());
            }
            UnixStream::connect(&socket).ok()
        });
        // The socket accepts connections before the server can answer.
        assert_eq!(self.control("GET", "/config", "").0, 200);
    }

    /// The address that `{name}` became.
    ///
    /// # Panics
    ///
    /// When no configuration had this name.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        match self.addresses.get(name) {
            Some(address) => *address,
            None => panic!("no configuration has the address {{{name}}}"),
        }
    }

    /// A connection to the address that `{name}` became.
    #[must_use]
    pub fn connect(&self, name: &str) -> Client {
        Client::connect(self.address(name))
    }

    /// The text with addresses filled in, and guests replaced by those of the front end's world. New names
    /// get new addresses.
    #[must_use]
    pub fn fill_in(&mut self, text: &str) -> String {
        let text = configuration::fill_in(text, &mut self.addresses);
        let folder = |world: World| world.folder().display().to_string();
        text.replace(&folder(World::Wasi02), &folder(self.world))
    }

    /// Puts `json` at `path` of the control API, with the addresses filled in in both.
    #[must_use]
    pub fn put(&mut self, path: &str, json: &str) -> (u16, String) {
        let (path, json) = (self.fill_in(path), self.fill_in(json));
        let answer = self.control("PUT", &path, &json);
        if answer.0 == 200 && path.trim_end_matches('/') == "/config" {
            configuration::record(&json);
        }
        answer
    }

    /// The control API's answer at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        self.control("GET", path, "").1.trim_end().to_owned()
    }

    /// Any request to the control API.
    #[must_use]
    pub fn control(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        control::request(&self.control_socket(), method, path, body)
    }

    /// The number of an application's requests in progress, from `/status`.
    #[must_use]
    pub fn active(&self, application: &str) -> String {
        self.get(&format!(
            "/status/applications/{application}/requests/active"
        ))
    }

    /// The control socket's file.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// The folder that the server writes to.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process that was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// That process and its descendants, parents first.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        processes::tree(self.pid())
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.directory.path().join("unit.log"))
    }

    /// The lines of the log so far that contain `needle`.
    #[must_use]
    pub fn log_lines(&self, needle: &str) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(needle));
        lines.map(str::to_owned).collect()
    }

    /// Waits for a line of the log that contains `needle`.
    #[track_caller]
    pub fn wait_for_log(&self, needle: &str) -> String {
        within(DEADLINE, &format!("the log has {needle:?}"), || {
            self.log_lines(needle).into_iter().next()
        })
    }

    /// What the server has written to its standard error.
    #[must_use]
    pub fn errors(&self) -> String {
        read(&self.directory.path().join("stderr"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) {
        processes::send(self.pid(), signal).unwrap();
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the server ends", || self.child.try_wait().unwrap())
    }

    /// Whether the process is still running.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM, and waits for the end of the process.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(DEADLINE)
    }

    /// Ends the server, in any state.
    fn end(&mut self) {
        // unitd: it has to end its other processes itself.
        if self.pids().len() > 1 && processes::send(self.pid(), Signal::SIGTERM).is_ok() {
            let started = Instant::now();
            while self.is_alive() && started.elapsed() < DEADLINE {
                sleep(Duration::from_millis(5));
            }
        }
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // It may have started more processes in the meantime.
        processes::end_all_in(self.directory.path());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", shortened(&self.log()));
            eprintln!("--- its errors ---\n{}", shortened(&self.errors()));
        }
    }
}

fn spawn(mut command: Command, directory: &Path) -> Child {
    let errors = File::create(directory.join("stderr")).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .unwrap()
}

fn read(path: &Path) -> String {
    // Some tests put a pipe there: reading it would block.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return String::new();
    }
    // A file that does not exist yet counts as empty.
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of a log, for people to read.
fn shortened(log: &str) -> String {
    const LINES: usize = 60;
    const CHARACTERS: usize = 250;
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    let cut = last
        .iter()
        .map(|line| line.chars().take(CHARACTERS).collect::<String>());
    cut.collect::<Vec<_>>().join("\n")
}

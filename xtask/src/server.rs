//! The servers that are measured, each a process on cores of its own.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// How long a server may take to its first answer; a debug build of Wasmtime's command compiles for
/// a while.
const START: Duration = Duration::from_secs(60);

/// How long the control API may take to answer: a change may compile a component.
const ANSWER: Duration = Duration::from_secs(120);

/// How long it may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(10);

/// A server that runs, and its folder. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server on these cores, as `taskset` takes them. `arguments` adds its
    /// command-line arguments, from the address that it is to listen on and its temporary folder.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start(
        program: &Path,
        cores: &str,
        arguments: impl FnOnce(&mut Command, SocketAddr, &Path),
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = File::create(folder.path().join("output"))?;
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(program);
        // With it each of Wasmtime's errors costs as much as a request.
        command.env_remove("RUST_BACKTRACE");
        arguments(&mut command, address, folder.path());
        let child = command
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start taskset")?;
        Ok(Self {
            child,
            folder,
            address,
        })
    }

    /// Waits until it answers with 200. Its peak of memory counts from there: what compiling took does
    /// not.
    ///
    /// # Errors
    ///
    /// When it does not in time, or ends.
    pub(crate) fn ready(mut self, fields: &[String]) -> Result<Self> {
        let deadline = Instant::now() + START;
        loop {
            let answer = get(self.address, fields);
            if answer.as_ref().is_ok_and(|text| text.contains(" 200 ")) {
                for pid in family(self.child.id())? {
                    // One may have ended meanwhile.
                    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
                }
                return Ok(self);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}\n{}", self.output());
            }
            if Instant::now() > deadline {
                bail!("the server does not answer: {answer:?}\n{}", self.output());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A folder of its own.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a value at a path of its control API.
    ///
    /// # Errors
    ///
    /// When it refuses the configuration.
    pub(crate) fn configure(&self, path: &str, configuration: &str) -> Result<()> {
        self.control("PUT", path, configuration).map(drop)
    }

    /// What its control API says of a path.
    ///
    /// # Errors
    ///
    /// When it has nothing there.
    pub(super) fn status(&self, path: &str) -> Result<String> {
        self.control("GET", path, "")
    }

    fn control(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let socket = self.folder.path().join("control.sock");
        let deadline = Instant::now() + START;
        let mut stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("the control socket does not open");
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.set_read_timeout(Some(ANSWER))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 200 ") {
            bail!("the server refuses {method} {path}: {answer}");
        }
        let text = answer.split_once("\r\n\r\n").map(|(_, text)| text);
        Ok(text.unwrap_or_default().trim().to_owned())
    }

    /// Peak resident memory of the server with all processes that it has made, in bytes.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(super) fn peak_memory(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Resident memory of the same, at this moment.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(super) fn resident_memory(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, line: &str) -> Result<u64> {
        let mut total = 0;
        for pid in family(self.child.id())? {
            // A process may end meanwhile.
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let value = status.lines().find_map(|it| it.strip_prefix(line));
            let kib = value.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            total += kib.unwrap_or(0) << 10;
        }
        if total == 0 {
            bail!("the server has ended\n{}", self.output());
        }
        Ok(total)
    }

    /// Processor time that the server has used so far.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        let of = |text: &str| text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
        let mut total = 0;
        for task in tasks {
            let text = fs::read_to_string(task?.path().join("schedstat"));
            total += text.ok().as_deref().and_then(of).unwrap_or(0);
        }
        Ok(Duration::from_nanos(total.max(of(&text).unwrap_or(0))))
    }

    /// Ends it in order.
    ///
    /// # Errors
    ///
    /// When it does not, or with a fault.
    pub(crate) fn stop(mut self) -> Result<()> {
        let ended = self.end()?;
        if !ended.is_some_and(|status| status.success()) {
            bail!("the server does not end in order\n{}", self.output());
        }
        Ok(())
    }

    /// Asks it to end, and says how it did, if it did in time.
    fn end(&mut self) -> Result<Option<ExitStatus>> {
        // unitd ends its other processes when it is asked to.
        let pid = i32::try_from(self.child.id())?;
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM);
        let deadline = Instant::now() + STOP;
        loop {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Ok(ended);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that ignores the signal is killed.
        let _ = self.end();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process and all that descend from it.
fn family(first: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may have any character in it.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split(' ').nth(2)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (pid, parent)));
    }
    let mut family = vec![first];
    let mut next = 0;
    while let Some(of) = family.get(next).copied() {
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == of)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    Ok(family)
}

fn get(address: SocketAddr, fields: &[String]) -> Result<String> {
    let mut stream = request(address, fields)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Sends a request, and leaves its answer to be read.
///
/// # Errors
///
/// When nothing listens.
pub(super) fn request(address: SocketAddr, fields: &[String]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let mut head = format!("GET / HTTP/1.1\r\nHost: {address}\r\n");
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

//! What the programs are made to do while what they use is counted.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::answer;
use crate::server::Server;

/// How long each guest is at work, and how many clients ask it.
const LENGTH: Duration = Duration::from_secs(5);
const CLIENTS: usize = 8;

/// What a guest is asked.
struct Lesson {
    guest: &'static str,
    target: &'static str,
    /// Bytes that are posted.
    body: usize,
    /// A connection for each request, and all that comes on it.
    is_large: bool,
}

const LESSONS: [Lesson; 5] = [
    Lesson::small("hello", 0),
    // Small answers are the most.
    Lesson::small("hello", 0),
    Lesson::small("echo", 1024),
    Lesson::large("count", "/", 4 << 20),
    Lesson::large("download", "/?4194304", 0),
];

/// What is answered without a guest.
const ROUTED: [Lesson; 2] = [Lesson::routed("/"), Lesson::routed("/index.html")];

impl Lesson {
    const fn routed(target: &'static str) -> Self {
        Self {
            guest: "",
            target,
            body: 0,
            is_large: false,
        }
    }

    const fn small(guest: &'static str, body: usize) -> Self {
        Self {
            guest,
            target: "/",
            body,
            is_large: false,
        }
    }

    const fn large(guest: &'static str, target: &'static str, body: usize) -> Self {
        Self {
            guest,
            target,
            body,
            is_large: true,
        }
    }

    fn request(&self) -> Vec<u8> {
        let method = if self.body > 0 { "POST" } else { "GET" };
        let connection = if self.is_large { "close" } else { "keep-alive" };
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: training\r\nAccept: */*\r\n\
             Connection: {connection}\r\nContent-Length: {}\r\n\r\n",
            self.target, self.body
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + self.body, b'x');
        request
    }
}

/// Runs the counting daemon with one guest after the other, of each of these folders.
pub(super) fn daemon(program: &Path, guests: &[PathBuf]) -> Result<()> {
    for folder in guests {
        for lesson in &LESSONS {
            let guest = folder.join(format!("{}.wasm", lesson.guest));
            println!("xtask: training: {}", guest.display());
            let start = |command: &mut Command, address: SocketAddr, _: &Path| {
                command.args(["serve", "--listen", &address.to_string()]);
                command.arg(&guest);
            };
            let server = Server::start(program, &cores()?, start)?;
            teach(server, lesson).with_context(|| guest.display().to_string())?;
        }
    }
    routed(program)
}

/// Runs the counting daemon with routes.
fn routed(program: &Path) -> Result<()> {
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("index.html"), [b'x'; 1024])?;
    let share = format!("{}$uri", files.path().display());
    for lesson in &ROUTED {
        println!("xtask: training: routes, {}", lesson.target);
        let start = |command: &mut Command, _: SocketAddr, folder: &Path| {
            command.arg("--control");
            command.arg(format!("unix:{}", folder.join("control.sock").display()));
            command.arg("--statedir").arg(folder.join("state"));
        };
        let server = Server::start(program, &cores()?, start)?;
        let configuration = format!(
            r#"{{"listeners": {{"{}": {{"pass": "routes"}}}}, "routes": [
                {{"match": {{"host": "*.example.com"}}, "action": {{"return": 404}}}},
                {{"match": {{"uri": ["/api/*", "!*.php"]}}, "action": {{"return": 404}}}},
                {{"match": {{"uri": "/"}}, "action": {{"return": 200}}}},
                {{"action": {{"share": {share:?}}}}}
            ]}}"#,
            server.address
        );
        server.configure("/config/", &configuration)?;
        teach(server, lesson).context("routes")?;
    }
    Ok(())
}

/// Runs the counting baseline, with and without a guest of this folder: what is measured against a
/// program with a profile has one, too.
pub(super) fn baseline(program: &Path, guests: &Path) -> Result<()> {
    let hello = guests.join("hello.wasm");
    for guest in [None, Some(&hello)] {
        println!("xtask: training: the baseline");
        let start = |command: &mut Command, address: SocketAddr, _: &Path| {
            command.arg(address.to_string()).args(guest);
        };
        let server = Server::start(program, &cores()?, start)?;
        teach(server, &LESSONS[0]).context("the baseline")?;
    }
    Ok(())
}

/// All of them, as `taskset` takes them.
fn cores() -> Result<String> {
    Ok(format!("0-{}", thread::available_parallelism()?.get() - 1))
}

/// Has clients ask a server.
fn teach(server: Server, lesson: &Lesson) -> Result<()> {
    // The guest of large downloads makes an empty one without a length.
    let server = server.ready(&[])?;
    let end = Instant::now() + LENGTH;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, request) = (server.address, lesson.request());
            let is_large = lesson.is_large;
            thread::spawn(move || ask(address, &request, is_large, end))
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    // The counts are written at an orderly end.
    server.stop()
}

fn ask(address: SocketAddr, request: &[u8], is_large: bool, end: Instant) -> Result<()> {
    while Instant::now() < end {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        if is_large {
            stream.write_all(request)?;
            answer::read(&mut stream)?;
            continue;
        }
        while Instant::now() < end {
            stream.write_all(request)?;
            answer::read(&mut stream)?;
        }
    }
    Ok(())
}

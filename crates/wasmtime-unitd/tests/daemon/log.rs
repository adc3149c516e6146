//! The forms of the log, and a log that is slow or long.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use test_suite::{DEADLINE, FrontEnd as _, Running, configuration, until};

use crate::support::{Daemon, daemon};

/// A server whose log is a pipe, and the pipe's end for reading.
fn with_pipe(configuration: &str) -> (Running, File) {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("unit.log");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let reader = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&pipe)
        .unwrap();
    let command = Daemon.command(directory.path());
    let mut server = Running::launch(command, directory);
    let (status, answer) = server.put("/config", configuration);
    assert_eq!(status, 200, "{answer}");
    (server, reader)
}

/// Has guests fail and print until much more is to be logged than fits into a pipe.
fn fill(server: &Running) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.connect("trap");
                for _ in 0..250 {
                    client.get("/").assert_page(500);
                }
            });
        }
    });
    server
        .connect("print")
        .get("/?3000")
        .assert_text("printed\n");
}

fn guests() -> String {
    configuration::guests(&["trap", "print", "hello", "sleep"])
}

#[test]
fn a_stalled_log_delays_no_request_and_allows_a_graceful_shutdown() {
    let (mut server, _reader) = with_pipe(&guests());
    fill(&server);
    let mut client = server.connect("hello");
    for _ in 0..10 {
        client.get("/").assert_text("Hello, world!\n");
    }
    // The log leaves most of them out, the counters none.
    let failures = server.get("/status/applications/trap/instances/failures/trap");
    assert_eq!(failures, "1000");
    let mut busy = server.connect("sleep");
    busy.send("GET /?500 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is at work", || server.active("sleep") == "1");
    server.signal(Signal::SIGTERM);
    busy.response().assert_text("slept\n");
    assert_eq!(server.wait(DEADLINE).code(), Some(0));
}

#[test]
fn a_second_signal_stops_the_server_immediately_with_a_stalled_log() {
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut server, _reader) = with_pipe(&guests());
        fill(&server);
        let mut busy = server.connect("sleep");
        busy.send("GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n");
        until("it is at work", || server.active("sleep") == "1");
        server.signal(Signal::SIGTERM);
        until("the server stops", || {
            TcpStream::connect(server.address("hello")).is_err()
        });
        assert!(server.is_alive());
        let begun = Instant::now();
        server.signal(second);
        assert_eq!(server.wait(DEADLINE).code(), Some(1));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn lines_discarded_by_a_stalled_log_are_counted() {
    let log = test_components::guest("log");
    let application = |name| (name, configuration::application(&log, ""));
    let names = ["a", "b", "c", "d"];
    let (server, mut reader) = with_pipe(&configuration::applications_of(&names.map(application)));
    // Each prints as much as an application may at once, 2 MiB, and 4 MiB wait in all.
    for name in names {
        for _ in 0..2 {
            server.connect(name).get("/").assert_text("logged\n");
        }
    }
    let mut written = Vec::new();
    until(
        "the log continues and has the number of discarded lines",
        || {
            let _ = reader.read_to_end(&mut written);
            let text = String::from_utf8_lossy(&written);
            text.contains("lines of the log discarded: write queue full (4 MiB)")
        },
    );
    assert!(written.len() < 7 << 20, "{} bytes", written.len());
    // It takes lines again.
    server.connect("a").get("/").assert_text("logged\n");
    let before = written.len();
    until("lines are written again", || {
        let _ = reader.read_to_end(&mut written);
        written.len() > before
    });
}

#[test]
fn the_last_lines_are_in_the_log_when_the_server_has_ended() {
    let mut server = Running::guests(&Daemon, &["print"]);
    server
        .connect("print")
        .get("/?500")
        .assert_text("printed\n");
    assert_eq!(server.stop().code(), Some(0));
    let log = server.log();
    assert!(
        log.lines()
            .last()
            .is_some_and(|line| line.ends_with("stopped"))
    );
    assert_eq!(server.log_lines("stdout: line").len(), 500);
}

#[test]
fn a_long_application_name_is_cut_in_the_log() {
    let name = "n".repeat(100_000);
    let trap = configuration::application(&test_components::guest("trap"), "");
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "applications/{name}"}}}},
             "applications": {{"{name}": {trap}}}}}"#
    );
    let server = Running::start(&Daemon, &configuration);
    server.connect("main").get("/").assert_page(500);
    let line = server.wait_for_log("the guest trapped");
    assert!(
        line.contains(&format!("\"{}\"… request ", "n".repeat(128))),
        "{line}"
    );
    let longest = server.log().lines().map(str::len).max().unwrap();
    assert!(longest < 16 * 1024 + 3000, "a line of {longest} bytes");
}

/// A text member of a line of JSON. Empty if the line has no such member.
fn member<'a>(line: &'a config::Value, name: &str) -> &'a str {
    let member = line.child(name).and_then(config::Value::as_str);
    member.unwrap_or_default()
}

#[test]
fn each_line_of_a_log_in_json_is_an_object() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--log-format", "json", "--log-level", "debug"]);
    let mut server = Running::launch(command, directory);
    let guests = configuration::guests(&["log", "trap"]);
    assert_eq!(server.put("/config", &guests).0, 200);
    server.connect("log").get("/").assert_text("logged\n");
    server.connect("trap").get("/").assert_page(500);
    assert_eq!(server.stop().code(), Some(0));
    let log = server.log();
    let lines = log
        .lines()
        .map(|line| match config::parse(line.as_bytes()) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {line}"),
        });
    let lines: Vec<_> = lines.collect();
    for line in &lines {
        for name in ["time", "level", "target", "message"] {
            assert!(line.child(name).is_some(), "{name} in {line:?}");
        }
    }
    let find = |message: &str| {
        let mut found = lines.iter().filter(|it| member(it, "message") == message);
        found.next().unwrap_or_else(|| panic!("{message} in {log}"))
    };
    for stream in ["stdout", "stderr"] {
        let line = find(&format!("a line on {stream}"));
        assert_eq!(member(line, "stream"), stream);
        assert_eq!(member(line, "level"), "info");
        assert_eq!(member(line, "application"), "log");
        assert_eq!(member(line, "request").len(), 32);
    }
    // As in text.
    find("\\u{1b}[31mred\\u{7}");
    let failures = lines
        .iter()
        .filter(|it| member(it, "application") == "trap");
    assert!(
        failures.clone().any(|it| member(it, "level") == "error"),
        "{log}"
    );
    let request = find("control request");
    assert_eq!(member(request, "path"), "/config");
    assert_eq!(
        find("reconfiguration done").child("listeners"),
        Some(&2_u64.into())
    );
}

#[test]
fn a_log_that_the_journal_reads_has_priorities_instead_of_times() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    for (is_own, beginning) in [(true, "<6>[info] "), (false, "2")] {
        let journal = File::create(&path).unwrap();
        let metadata = journal.metadata().unwrap();
        let inode = metadata.ino() + u64::from(!is_own);
        let mut child = daemon()
            .arg("--control")
            .arg(format!(
                "unix:{}",
                directory.path().join("control").display()
            ))
            .arg("--statedir")
            .arg(directory.path().join("state"))
            .env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev()))
            .stdin(Stdio::null())
            .stderr(journal)
            .spawn()
            .unwrap();
        let log = || fs::read_to_string(&path).unwrap();
        until("the daemon is ready", || log().contains("is ready"));
        let pid = Pid::from_raw(child.id().cast_signed());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(child.wait().unwrap().success());
        let log = log();
        for line in log.lines() {
            assert!(line.starts_with(beginning), "{log}");
        }
    }
}

//! How the daemon stops, and what other signals do.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Channel};
use nix::sys::signal::Signal;
use test_suite::http2::{Http2, request};
use test_suite::{DEADLINE, End, FrontEnd as _, Running, until};

use crate::support::Daemon;

const POST_CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
const SLEEP_LONG: &str = "GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn a_graceful_shutdown_finishes_requests_and_closes_idle_connections() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Running::guests(&Daemon, &["echo"]);
        let mut idle = server.connect("echo");
        idle.post("/", "first").assert_text("first");
        let mut busy = server.connect("echo");
        busy.send(POST_CHUNKED);
        assert_eq!(busy.head().status, 200);
        let mut http2 = Http2::connect(server.address("echo"));
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let stream = http2.begin(request("POST", "/").body(body.boxed()).unwrap());

        server.signal(signal);
        idle.closed();
        busy.send("5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(busy.rest(), (b"hello".to_vec(), vec![], End::Complete));
        busy.closed();
        http2.wait(sender.send_data(Bytes::from("hello"))).unwrap();
        assert!(server.is_alive());
        drop(sender);
        let answer = http2.read(stream);
        assert_eq!(answer.summary(), (200, "hello".to_owned(), true));
        assert_eq!(server.wait(DEADLINE).code(), Some(0), "{signal}");
        assert!(!server.control_socket().exists());
        assert!(TcpStream::connect(server.address("echo")).is_err());
    }
}

#[test]
fn a_graceful_shutdown_accepts_no_new_connections() {
    let server = Running::guests(&Daemon, &["echo"]);
    let mut busy = server.connect("echo");
    busy.send(POST_CHUNKED);
    assert_eq!(busy.head().status, 200);
    server.signal(Signal::SIGTERM);
    server.wait_for_log("SIGTERM: shutting down gracefully");
    until("the address is closed", || {
        TcpStream::connect(server.address("echo")).is_err()
    });
    busy.send("0\r\n\r\n");
    assert_eq!(busy.rest().2, End::Complete);
}

#[test]
fn a_graceful_shutdown_waits_for_work_after_a_response() {
    let mut server = Running::guests(&Daemon, &["work_after"]);
    server
        .connect("work_after")
        .get("/?500")
        .assert_text("done\n");
    let status = server.stop();
    assert_eq!(status.code(), Some(0));
    assert_eq!(server.log_lines("work after the response is done").len(), 1);
}

#[test]
fn a_second_signal_stops_immediately() {
    let mut server = Running::guests(&Daemon, &["sleep"]);
    let mut busy = server.connect("sleep");
    busy.send(SLEEP_LONG);
    until("it is at work", || server.active("sleep") == "1");
    server.signal(Signal::SIGTERM);
    server.wait_for_log("shutting down gracefully");
    assert!(server.is_alive());
    let started = Instant::now();
    server.signal(Signal::SIGINT);
    let status = server.wait(DEADLINE);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(status.code(), Some(1));
    assert!(busy.try_response().is_err());
}

#[test]
fn requests_are_aborted_at_the_shutdown_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-timeout", "1"]);
    let mut server = Running::launch(command, directory);
    let configuration = test_suite::configuration::guests(&["sleep"]);
    assert_eq!(server.put("/config", &configuration).0, 200);
    let mut busy = server.connect("sleep");
    busy.send(SLEEP_LONG);
    until("it is at work", || server.active("sleep") == "1");
    let started = Instant::now();
    server.signal(Signal::SIGTERM);
    let status = server.wait(DEADLINE);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(status.code(), Some(1));
    assert!(busy.try_response().is_err());
}

#[test]
fn an_idle_daemon_stops_immediately() {
    let mut server = Running::idle(&Daemon);
    let started = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn sigusr1_reopens_the_log() {
    let server = Running::guests(&Daemon, &["log"]);
    let log = server.directory().join("unit.log");
    let moved = server.directory().join("unit.log.1");
    fs::rename(&log, &moved).unwrap();
    server.signal(Signal::SIGUSR1);
    server.wait_for_log("log reopened");
    server.connect("log").get("/").assert_text("logged\n");
    server.wait_for_log("a line on stdout");
    let old = fs::read_to_string(moved).unwrap();
    assert!(old.contains("is ready") && !old.contains("a line on stdout"));
}

#[test]
fn sigpipe_and_sigwinch_do_not_end_the_daemon() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    for signal in [Signal::SIGPIPE, Signal::SIGWINCH] {
        server.signal(signal);
        server
            .connect("hello")
            .get("/")
            .assert_text("Hello, world!\n");
    }
    assert!(server.is_alive());
}

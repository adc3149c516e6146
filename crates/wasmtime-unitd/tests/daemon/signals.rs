//! How the daemon stops, and what other signals do.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use test_suite::http2::{Http2, empty, read, request};
use test_suite::{DEADLINE, FrontEnd as _, Running, until};

use crate::support::Daemon;

const SLEEP: &str = "GET /?1000 HTTP/1.1\r\nhost: a\r\n\r\n";
const SLEEP_LONG: &str = "GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn a_signal_lets_requests_finish_and_closes_what_is_idle() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Running::guests(&Daemon, &["sleep"]);
        let mut idle = server.connect("sleep");
        idle.get("/").assert_text("slept\n");
        let mut busy = server.connect("sleep");
        busy.send(SLEEP);
        let http2 = Http2::connect(server.address("sleep"));
        let stream = http2
            .sender()
            .send_request(request("GET", "/?1000").body(empty()).unwrap());
        until("both are at work", || server.active("sleep") == "2");

        server.signal(signal);
        idle.closed();
        busy.response().assert_text("slept\n");
        let answer = http2.wait(async { read(stream.await.unwrap()).await });
        assert_eq!(answer.summary(), (200, "slept\n".to_owned(), true));
        let status = server.wait(DEADLINE);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(!server.control_socket().exists());
        let address = server.address("sleep");
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}

#[test]
fn nothing_new_is_accepted_while_requests_finish() {
    let server = Running::guests(&Daemon, &["sleep"]);
    let mut busy = server.connect("sleep");
    busy.send(SLEEP);
    until("it is at work", || server.active("sleep") == "1");
    server.signal(Signal::SIGTERM);
    server.wait_for_log("SIGTERM: finishing what is in progress");
    until("the address is closed", || {
        std::net::TcpStream::connect(server.address("sleep")).is_err()
    });
    busy.response().assert_text("slept\n");
}

#[test]
fn work_after_a_response_is_finished_too() {
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
fn a_second_signal_stops_at_once() {
    let mut server = Running::guests(&Daemon, &["sleep"]);
    let mut busy = server.connect("sleep");
    busy.send(SLEEP_LONG);
    until("it is at work", || server.active("sleep") == "1");
    server.signal(Signal::SIGTERM);
    server.wait_for_log("finishing what is in progress");
    assert!(server.is_alive());
    let started = Instant::now();
    server.signal(Signal::SIGINT);
    let status = server.wait(DEADLINE);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(status.code(), Some(1));
    assert!(busy.try_response().is_err());
}

#[test]
fn requests_that_take_too_long_are_cut_off() {
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
fn an_idle_daemon_stops_at_once() {
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
    server.wait_for_log("the log is reopened");
    server.connect("log").get("/").assert_text("logged\n");
    server.wait_for_log("a line on stdout");
    let old = fs::read_to_string(moved).unwrap();
    assert!(old.contains("is ready") && !old.contains("a line on stdout"));
}

#[test]
fn a_client_that_hangs_up_does_not_end_the_daemon() {
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

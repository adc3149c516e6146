//! Shutdown of unitd with the module loaded.

use std::time::Duration;

use nix::sys::signal::Signal;
use test_suite::{End, Running, processes, until, within};

use crate::support::{Unitd, assert_no_alert};

const LIMIT: Duration = Duration::from_secs(10);

/// Sends the signal, and waits until all processes are gone.
#[track_caller]
fn assert_all_end(server: &mut Running, signal: Signal) {
    let unitd = server.pid();
    let mut others = server.pids();
    others.retain(|pid| *pid != unitd);
    server.signal(signal);
    within(LIMIT, "all processes but unitd's first are gone", || {
        let is_left = others.iter().any(|pid| processes::is_running(*pid));
        (!is_left).then_some(())
    });
    // FreeUnit 1.36's first process sometimes miscounts when two prototypes end at once, and then never
    // exits.
    if !server.log().contains("remove failed") {
        let status = server.wait(LIMIT);
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
    }
    assert_no_alert(server);
}

#[test]
fn a_signal_ends_all_processes() {
    let Some(unitd) = Unitd::here() else { return };
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut server = Running::guests(&unitd, &["hello"]);
        let mut idle = server.connect("hello");
        idle.get("/").assert_text("Hello, world!\n");
        assert_all_end(&mut server, signal);
    }
}

#[test]
fn sigterm_ends_all_processes_with_requests_in_flight() {
    let Some(unitd) = Unitd::here() else { return };
    assert_all_end_in_flight(unitd, Signal::SIGTERM);
}

#[test]
fn sigquit_ends_all_processes_with_requests_in_flight() {
    let Some(unitd) = Unitd::here() else { return };
    assert_all_end_in_flight(unitd, Signal::SIGQUIT);
}

#[track_caller]
fn assert_all_end_in_flight(unitd: Unitd, signal: Signal) {
    let mut server = Running::guests(&unitd, &["failing", "sleep"]);
    let mut begun = server.connect("failing");
    begun.send("GET /?works&60000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(begun.head().status, 200);
    let mut spins = server.connect("failing");
    spins.send("GET /?spins HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut sleeps = server.connect("sleep");
    sleeps.send("GET /?60000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    server.wait_for_log("it spins");
    until("all are at work", || server.active("sleep") == "1");
    assert_all_end(&mut server, signal);
    // None of them has what looks like an answer of its guest.
    assert_ne!(begun.rest().2, End::Complete);
    for mut client in [spins, sleeps] {
        if let Ok(response) = client.try_response() {
            // The router's own, whose status depends on how far its end has come.
            assert!(matches!(response.head.status, 500 | 503), "{response:?}");
            assert!(response.text().contains("<title>Error 50"), "{response:?}");
        }
    }
}

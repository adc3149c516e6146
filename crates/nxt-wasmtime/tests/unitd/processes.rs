//! The processes of an application: their number, and what happens when one of them ends.

use std::io::{Read, Write};
use std::thread;

use nix::sys::signal::Signal;
use test_suite::{End, Running, configuration, processes, until};

use crate::support::{Unitd, application, assert_no_alert, only_process};

#[test]
fn eight_processes_share_one_compilation() {
    let Some(unitd) = Unitd::here() else { return };
    let configuration = configuration::guests_with(&[("hello", r#""processes": 8"#)]);
    let server = Running::start(&unitd, &configuration);
    until("all are there", || application(&server, "hello").len() == 8);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut client = server.connect("hello");
                    client.get("/").assert_text("Hello, world!\n");
                }
            });
        }
    });
    assert_eq!(application(&server, "hello").len(), 8);
    let compiled = server.log_lines("compiled in");
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    assert_no_alert(&server);
}

#[test]
fn processes_start_on_demand_and_end_when_idle() {
    let Some(unitd) = Unitd::here() else { return };
    let members = r#""processes": {"max": 3, "spare": 0, "idle_timeout": 1}"#;
    let server = Running::start(&unitd, &configuration::guests_with(&[("sleep", members)]));
    for _ in 0..2 {
        let mut clients: Vec<_> = (0..6).map(|_| server.connect("sleep")).collect();
        for client in &mut clients {
            client.send("GET /?300 HTTP/1.1\r\nhost: localhost\r\n\r\n");
        }
        for client in &mut clients {
            client.response().assert_text("slept\n");
        }
        let count = application(&server, "sleep").len();
        assert!((1..=3).contains(&count), "{count} processes");
        until("the idle processes have ended", || {
            application(&server, "sleep").is_empty()
        });
    }
    assert_no_alert(&server);
}

#[test]
fn a_process_with_one_thread_serves_all_requests_that_waited_for_it() {
    let Some(unitd) = Unitd::here() else { return };
    // unitd announces all requests that arrive before the process is ready by one message.
    let members = r#""processes": {"max": 1, "spare": 0, "idle_timeout": 1},
        "environment": {"NXT_WASMTIME_THREADS": "1"}"#;
    let server = Running::start(&unitd, &configuration::guests_with(&[("hello", members)]));
    for _ in 0..2 {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = server.connect("hello");
                    for _ in 0..3 {
                        client.get("/").assert_text("Hello, world!\n");
                    }
                });
            }
        });
        until("the idle process has ended", || {
            application(&server, "hello").is_empty()
        });
    }
    assert_no_alert(&server);
}

#[test]
fn processes_end_when_their_router_exits() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["failing"]);
    let mut begun = server.connect("failing");
    begun.send("GET /?works&60000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(begun.head().status, 200);
    let pid = only_process(&server, "failing");
    let mut pids = server.pids();
    pids.retain(|pid| processes::name(*pid).starts_with("unit: router"));
    processes::send(pids[0], Signal::SIGKILL).unwrap();
    assert_ne!(begun.rest().2, End::Complete);
    until("it is gone", || !processes::is_running(pid));
    // unitd starts another router, and processes for it.
    until("the next is there", || {
        let target = "GET /?works HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let Ok(mut stream) = std::net::TcpStream::connect(server.address("failing")) else {
            return false;
        };
        let mut answer = [0; 12];
        stream.write_all(target.as_bytes()).is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == *b"HTTP/1.1 200"
    });
}

#[test]
fn a_killed_process_loses_only_its_own_requests_and_is_replaced() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["failing"]);
    let mut begun = server.connect("failing");
    begun.send("GET /?works&60000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(begun.head().status, 200);
    let mut silent = server.connect("failing");
    silent.send("GET /?spins HTTP/1.1\r\nhost: localhost\r\n\r\n");
    server.wait_for_log("it spins");

    let pid = only_process(&server, "failing");
    processes::send(pid, Signal::SIGKILL).unwrap();
    let (_, _, end) = begun.rest();
    assert_ne!(end, End::Complete);
    silent.response().assert_page(503);
    until("it is gone", || !processes::is_running(pid));
    let mut client = server.connect("failing");
    client.get("/?works").assert_text("at work\ndone\n");
    assert_ne!(only_process(&server, "failing"), pid);
}

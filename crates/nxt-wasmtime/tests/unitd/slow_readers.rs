//! Back-pressure: slow clients hold back their own guests, and delay no other request.

use std::io::Read as _;
use std::time::{Duration, Instant};

use test_suite::{Client, End, Running, Watch, until};

use crate::support::{Unitd, assert_no_alert, only_process};

const READERS: usize = 20;
const MIB: u64 = 1 << 20;

/// The most memory that all of them together may take in the router and the application.
const BOUND: u64 = 64 * MIB;

/// What may stay when all readers have left, round after round: the instance pool keeps up to 2 MiB of each
/// place that was in use once, and on a busy machine some 100 of these come to be used. The shared memory
/// alone of 800 readers would be more, 256 KiB of each in the router and in the application.
const KEPT: u64 = 320 * MIB;

/// How long another request may take meanwhile.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Clients that request large bodies, but read only the heads.
fn readers(server: &Running) -> Vec<Client> {
    (0..READERS)
        .map(|_| {
            let mut client = server.connect("download");
            client.send("GET /?300000000&length HTTP/1.1\r\nhost: localhost\r\n\r\n");
            assert_eq!(client.head().status, 200);
            client
        })
        .collect()
}

/// Waits until the kernel buffers no more bytes for any client.
fn wait_until_all_are_held_back(readers: &mut [Client]) {
    let mut buffer = vec![0; 8 << 20];
    let mut before = (Vec::new(), Instant::now());
    until("nothing more comes", || {
        let lengths: Vec<usize> = readers
            .iter_mut()
            .map(|client| client.socket().peek(&mut buffer).unwrap())
            .collect();
        if lengths != before.0 {
            before = (lengths, Instant::now());
        }
        before.1.elapsed() > Duration::from_millis(500)
    });
}

#[track_caller]
fn assert_served_at_once(server: &Running) {
    for target in ["/?10", "/?1000000", "/?1000000&length"] {
        for _ in 0..3 {
            let started = Instant::now();
            let response = server.connect("download").get(target);
            let took = started.elapsed();
            assert_eq!((response.head.status, response.end), (200, End::Complete));
            assert!(took < AT_ONCE, "{target} took {took:?}");
        }
    }
}

#[test]
fn back_pressure_of_clients_that_do_not_read_delays_no_other_request() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["download"]);
    assert_served_at_once(&server);
    let watch = Watch::start(&server.pids());
    let mut readers = readers(&server);
    wait_until_all_are_held_back(&mut readers);
    assert_eq!(server.active("download"), READERS.to_string());
    assert_served_at_once(&server);
    watch.assert_below(BOUND);

    // One of them continues to read.
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    let socket = readers[0].socket();
    while total < 100 * MIB {
        total += socket.read(&mut buffer).unwrap() as u64;
    }
    watch.assert_below(BOUND);
    assert_no_alert(&server);
}

#[test]
fn memory_of_slow_clients_is_freed_when_they_leave() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["download"]);
    assert_served_at_once(&server);
    let pid = only_process(&server, "download");
    let mut watch = None;
    for _ in 0..40 {
        let mut readers = readers(&server);
        wait_until_all_are_held_back(&mut readers);
        drop(readers);
        until("the router has seen them leave", || {
            server.active("download") == "0"
        });
        assert_served_at_once(&server);
        // The first round makes what is kept for the next ones.
        watch.get_or_insert_with(|| Watch::start(&server.pids()));
    }
    watch.unwrap().assert_below(KEPT);
    assert_eq!(only_process(&server, "download"), pid);
    assert_no_alert(&server);
}

//! A reconfiguration drops no connection and no request in flight.

use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use test_suite::{Client, End, Running, Watch, configuration, until};

use crate::support::Daemon;

#[test]
fn a_request_in_progress_outlives_its_listener_and_its_application() {
    let mut server = Running::guests(&Daemon, &["echo", "sleep"]);
    let mut sleep = server.connect("sleep");
    sleep.send("GET /?1000 HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut echo = server.connect("echo");
    echo.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(echo.head().status, 200);
    until("it is at work", || server.active("sleep") == "1");

    assert_eq!(
        server.put("/config", &configuration::guests(&["hello"])).0,
        200
    );
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    until("the old address is closed", || {
        std::net::TcpStream::connect(server.address("echo")).is_err()
    });
    echo.send("5\r\nhello\r\n");
    assert_eq!(echo.pieces(5), b"hello");
    echo.send("0\r\n\r\n");
    assert_eq!(echo.rest().2, End::Complete);
    sleep.response().assert_text("slept\n");
    // Then no client is left.
    echo.closed();
    sleep.closed();
}

#[test]
fn a_keep_alive_connection_follows_a_change_of_its_listeners_pass() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    let mut client = server.connect("hello");
    client.get("/").assert_text("Hello, world!\n");
    let path = format!("/config/listeners/{}/pass", server.address("hello"));
    assert_eq!(server.put(&path, r#""applications/early""#).0, 200);
    client.get("/").assert_text("early\n");
    assert_eq!(server.get("/status/connections/closed"), "0");
}

/// Ends the clients when the test ends, however it does.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `RECONFIGURATIONS=10000` has ten thousand.
fn reconfigurations() -> u64 {
    let named = std::env::var("RECONFIGURATIONS").ok();
    named.map_or(1_000, |text| text.parse().unwrap())
}

#[test]
fn a_thousand_reconfigurations_cost_no_request() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    let address = server.address("hello");
    let stop = AtomicBool::new(false);
    let requests = AtomicU64::new(0);
    let ask = |client: &mut Client| {
        let response = client.get("/");
        assert_eq!(response.end, End::Complete);
        assert!(
            matches!(response.text(), "Hello, world!\n" | "early\n"),
            "{response:?}"
        );
        requests.fetch_add(1, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            // One that keeps its connection, and one that does not.
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    ask(&mut client);
                }
            });
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    ask(&mut Client::connect(address));
                }
            });
        }
        let _stop = StopAtEnd(&stop);
        // Each meets requests.
        let change_several = |server: &mut Running, numbers: Range<u64>| {
            for n in numbers {
                let (status, answer) = change(server, n);
                assert_eq!(status, 200, "{n}: {answer}");
                let before = requests.load(Ordering::Relaxed);
                until("clients continue", || {
                    requests.load(Ordering::Relaxed) > before + 4
                });
            }
        };
        // What is allocated once is there by then.
        change_several(&mut server, 0..100);
        let memory = Watch::start(&server.pids());
        let before = open_files(&server);
        change_several(&mut server, 100..reconfigurations());
        memory.assert_below(64 << 20);
        // A client may just connect, or another just leave.
        until("no file is left open", || open_files(&server) <= before + 4);
    });
    until("no connection is active", || {
        server.get("/status/connections/active") == "0"
    });
}

/// A change of one of several kinds, under which the clients' requests go to one of two guests.
fn change(server: &mut Running, n: u64) -> (u16, String) {
    let address = server.address("hello");
    let pass = format!("/config/listeners/{address}/pass");
    let environment = format!(r#"{{"N": "{n}"}}"#);
    match n % 10 {
        // It loads the application again.
        0 => server.put("/config/applications/hello/environment", &environment),
        1 | 3 => server.put(
            "/config/routes",
            &format!(
                r#"[{{"match": {{"uri": "/{n}*"}}, "action": {{"return": 404}}}},
                    {{"action": {{"pass": "applications/hello"}}}}]"#
            ),
        ),
        2 => server.put(&pass, r#""routes""#),
        4 | 8 => server.put(&pass, r#""applications/early""#),
        // It opens a listener, and the next closes it.
        5 => server.put(
            "/config/listeners/{another}",
            &configuration::listener("hello"),
        ),
        6 => {
            let another = server.address("another");
            server.control("DELETE", &format!("/config/listeners/{another}"), "")
        }
        7 => server.put(
            "/config/settings",
            &format!(r#"{{"http": {{"idle_timeout": {}}}}}"#, 100 + n % 100),
        ),
        _ => server.put(&pass, r#""applications/hello""#),
    }
}

pub(crate) fn open_files(server: &Running) -> usize {
    let count = |pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    server.pids().into_iter().map(count).sum()
}

#[test]
fn an_application_restart_reloads_the_file_and_costs_no_request() {
    let mut server = Running::idle(&Daemon);
    let file = server.directory().join("application.wasm");
    fs::copy(test_components::guest("sleep"), &file).unwrap();
    assert_eq!(
        server
            .put("/config", &configuration::component("a", &file))
            .0,
        200
    );
    let mut idle = server.connect("a");
    idle.get("/").assert_text("slept\n");
    let mut busy = server.connect("a");
    busy.send("GET /?1500 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is at work", || server.active("a") == "1");

    fs::copy(test_components::guest("hello"), &file).unwrap();
    idle.get("/").assert_text("slept\n");
    let restart = "/control/applications/a/restart";
    let (status, answer) = server.control("GET", restart, "");
    assert_eq!(
        (status, answer.contains("success")),
        (200, true),
        "{answer}"
    );
    idle.get("/").assert_text("Hello, world!\n");
    busy.response().assert_text("slept\n");

    // What does not load leaves what is served alone.
    fs::write(&file, "nonsense").unwrap();
    let (status, answer) = server.control("GET", restart, "");
    assert_eq!(status, 500);
    assert!(answer.contains("application.wasm"), "{answer}");
    idle.get("/").assert_text("Hello, world!\n");
    assert_eq!(
        server
            .control("GET", "/control/applications/b/restart", "")
            .0,
        404
    );
}

#[test]
fn an_address_in_use_is_refused_and_named() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let before = server.get("/config");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (status, answer) = server.put(
        &format!("/config/listeners/{address}"),
        &configuration::listener("hello"),
    );
    assert_eq!(status, 500, "{answer}");
    assert!(
        answer.contains(&address.to_string()) && answer.contains("in use"),
        "{answer}"
    );
    assert_eq!(server.get("/config"), before);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
}

#[test]
fn a_removed_listener_releases_its_address() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let address = server.address("hello");
    let idle = server.connect("hello");
    for _ in 0..5 {
        let path = format!("/config/listeners/{address}");
        assert_eq!(server.control("DELETE", &path, "").0, 200);
        let (status, answer) = server.put(&path, &configuration::listener("hello"));
        assert_eq!(status, 200, "{answer}");
        server
            .connect("hello")
            .get("/")
            .assert_text("Hello, world!\n");
    }
    drop(idle);
}

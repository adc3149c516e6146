//! A reconfiguration drops no connection and no request in flight.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use test_suite::{Client, End, Running, configuration, until};

use crate::support::Daemon;

#[test]
fn a_request_in_flight_outlives_its_listener_and_its_application() {
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
    // Then there is nobody left to ask.
    echo.closed();
    sleep.closed();
}

#[test]
fn a_connection_goes_on_with_what_its_listener_passes_to_now() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    let mut client = server.connect("hello");
    client.get("/").assert_text("Hello, world!\n");
    let path = format!("/config/listeners/{}/pass", server.address("hello"));
    assert_eq!(server.put(&path, r#""applications/early""#).0, 200);
    client.get("/").assert_text("early\n");
    assert_eq!(server.get("/status/connections/closed"), "0");
}

/// Ends the clients when the test ends, however it does.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn clients_notice_nothing_of_fifty_reconfigurations() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    let address = server.address("hello");
    let path = format!("/config/listeners/{address}/pass");
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
        for n in 0..50 {
            let (status, answer) = if n % 10 == 0 {
                // This one makes the application anew.
                let environment = format!(r#"{{"N": "{n}"}}"#);
                server.put("/config/applications/hello/environment", &environment)
            } else if n % 10 == 5 {
                // This one opens a listener, and the next closes it.
                server.put(
                    "/config/listeners/{another}",
                    &configuration::listener("hello"),
                )
            } else if n % 10 == 6 {
                let another = server.address("another");
                server.control("DELETE", &format!("/config/listeners/{another}"), "")
            } else {
                let name = if n % 2 == 0 { "hello" } else { "early" };
                server.put(&path, &format!("\"applications/{name}\""))
            };
            assert_eq!(status, 200, "{answer}");
            // Each meets requests.
            let before = requests.load(Ordering::Relaxed);
            until("clients go on", || {
                requests.load(Ordering::Relaxed) > before + 4
            });
        }
    });
    assert_eq!(server.get("/status/connections/active"), "0");
}

#[test]
fn a_restart_loads_the_file_anew_and_drops_nothing() {
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
fn a_listener_that_goes_gives_its_address_back() {
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

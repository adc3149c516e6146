//! What the daemon makes of a kept configuration that it cannot use.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use test_suite::{DEADLINE, Running, configuration};

use crate::support::Daemon;

/// What the log has about a saved configuration that is not used.
const NOT_RESTORED: &str = "cannot restore the saved configuration";

fn kept(server: &Running) -> PathBuf {
    server.directory().join("state/conf.json")
}

fn stopped() -> Running {
    let mut server = Running::guests(&Daemon, &["hello"]);
    assert_eq!(server.stop().code(), Some(0));
    server
}

#[test]
fn a_broken_configuration_is_set_aside_and_the_daemon_starts_empty() {
    for text in [
        "",
        "{",
        "\0\0\0\0",
        "[]",
        r#"{"listeners": 5}"#,
        "\u{feff}nonsense",
    ] {
        let mut server = stopped();
        fs::write(kept(&server), text).unwrap();
        server.start_again(&Daemon);
        let line = server.wait_for_log(NOT_RESTORED);
        assert!(
            line.contains("[error]") && line.contains("conf.json"),
            "{line}"
        );
        assert_eq!(server.get("/config/listeners"), "{}");
        // The operator may want to repair it.
        let entries = fs::read_dir(server.directory().join("state")).unwrap();
        let aside = entries
            .map(|entry| fs::read(entry.unwrap().path()))
            .any(|content| content.is_ok_and(|it| it == text.as_bytes()));
        assert!(aside, "{text:?} is lost");
        // A new configuration is accepted, and survives the next restart.
        let (status, answer) = server.put("/config", &configuration::guests(&["hello"]));
        assert_eq!(status, 200, "{answer}");
        server.signal(Signal::SIGKILL);
        server.wait(DEADLINE);
        server.start_again(&Daemon);
        server
            .connect("hello")
            .get("/")
            .assert_text("Hello, world!\n");
    }
}

#[test]
fn a_missing_component_at_the_start_does_not_prevent_the_others_from_being_served() {
    let mut server = Running::idle(&Daemon);
    let file = server.directory().join("gone.wasm");
    fs::copy(test_components::guest("early"), &file).unwrap();
    let hello = test_components::guest("hello");
    let applications = [
        ("hello", configuration::application(&hello, "")),
        ("gone", configuration::application(&file, "")),
    ];
    let configuration = configuration::applications_of(&applications);
    assert_eq!(server.put("/config", &configuration).0, 200);
    let before = server.get("/config");
    server.connect("gone").get("/").assert_text("early\n");
    assert_eq!(server.stop().code(), Some(0));

    fs::remove_file(&file).unwrap();
    server.start_again(&Daemon);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    server.connect("gone").get("/").assert_page(503);
    let line = server.wait_for_log("application \"gone\"");
    assert!(
        line.contains("[error]") && line.contains("gone.wasm"),
        "{line}"
    );
    assert_eq!(server.get("/config"), before, "the configuration is kept");

    // When it is back, a restart of the application is enough.
    fs::copy(test_components::guest("early"), &file).unwrap();
    let (status, answer) = server.control("GET", "/control/applications/gone/restart", "");
    assert_eq!(status, 200, "{answer}");
    server.connect("gone").get("/").assert_text("early\n");
}

#[test]
fn an_address_in_use_at_the_start_does_not_prevent_the_others_from_being_served() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    assert_eq!(server.stop().code(), Some(0));
    let taken = std::net::TcpListener::bind(server.address("early")).unwrap();
    server.start_again(&Daemon);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    let line = server.wait_for_log(&taken.local_addr().unwrap().to_string());
    assert!(line.contains("[error]"), "{line}");
}

#[test]
fn a_crash_at_any_moment_leaves_a_complete_configuration() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    for round in 0..10 {
        let (before, after) = if round % 2 == 0 {
            ("hello", "early")
        } else {
            ("early", "hello")
        };
        let address = server.address("hello");
        let path = format!("/config/listeners/{address}/pass");
        assert_eq!(
            server.put(&path, &format!("\"applications/{before}\"")).0,
            200
        );
        // The answer may or may not come before the end.
        std::thread::scope(|scope| {
            let pid = nix::unistd::Pid::from_raw(server.pid().cast_signed());
            scope.spawn(move || {
                std::thread::sleep(std::time::Duration::from_micros(200 * round));
                nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
            });
            let socket = server.control_socket();
            let stream = std::os::unix::net::UnixStream::connect(socket);
            if let Ok(stream) = stream {
                let body = format!("\"applications/{after}\"");
                let _ = test_suite::Client::over(stream).try_send(format!(
                    "PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
        });
        server.wait(DEADLINE);
        server.start_again(&Daemon);
        let response = server.connect("hello").get("/");
        assert!(matches!(response.text(), "Hello, world!\n" | "early\n"));
        assert_eq!(server.log_lines(NOT_RESTORED), [""; 0]);
    }
}

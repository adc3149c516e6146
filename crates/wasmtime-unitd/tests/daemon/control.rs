//! The control API from outside.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use test_suite::{DEADLINE, FrontEnd, Running, has_curl, until};

use crate::support::Daemon;

/// As the README has it; only address and file are to be filled in.
const WALKTHROUGH: &str = r#"{
      "listeners": {
          "127.0.0.1:8080": {
              "pass": "applications/wasm"
          }
      },

      "applications": {
          "wasm": {
              "type": "wasm",
              "module": "/path/to/example.component.wasm",
              "request_handler": "<unused>",
              "malloc_handler": "<unused>",
              "free_handler": "<unused>",
          }
      }
  }"#;

#[test]
fn the_walkthroughs_curl_command_configures_the_daemon() {
    if !has_curl() {
        return;
    }
    let mut server = Running::idle(&Daemon);
    let example = test_components::example();
    let text = WALKTHROUGH.replace("127.0.0.1:8080", "{wasm}").replace(
        "/path/to/example.component.wasm",
        &example.display().to_string(),
    );
    let text = server.fill_in(&text);
    let mut curl = Command::new("curl")
        .args([
            "--disable",
            "--silent",
            "--max-time",
            "60",
            "-X",
            "PUT",
            "--data-binary",
            "@-",
            "--unix-socket",
        ])
        .arg(server.control_socket())
        .arg("http://localhost/config/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    curl.stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = curl.wait_with_output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    let words: String = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words, r#"{ "success": "Reconfiguration done." }"#);
    let response = server.connect("wasm").get("/");
    assert!(response.text().starts_with(" * Welcome"), "{response:?}");
}

#[test]
fn get_returns_what_was_put_and_parts_can_be_changed() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    let hello = server.address("hello");
    let pass = format!("/config/listeners/{hello}/pass");
    assert_eq!(server.get(&pass), r#""applications/hello""#);
    assert_eq!(server.put(&pass, r#""applications/early""#).0, 200);
    assert_eq!(server.get(&pass), r#""applications/early""#);
    server.connect("hello").get("/").assert_text("early\n");

    let (status, answer) = server.control("DELETE", "/config/applications/early", "");
    assert_eq!(status, 400, "it is in use: {answer}");
    server.connect("hello").get("/").assert_text("early\n");

    let listener = format!("/config/listeners/{hello}");
    assert_eq!(server.control("DELETE", &listener, "").0, 200);
    until("the address is closed", || {
        std::net::TcpStream::connect(hello).is_err()
    });
    assert_eq!(server.control("GET", &listener, "").0, 404);
    server.connect("early").get("/").assert_text("early\n");
}

#[test]
fn bad_json_is_refused_with_its_place() {
    let mut server = Running::guests(&Daemon, &["hello"]);
    let before = server.get("/config");
    let (status, answer) = server.put("/config", "{\n  \"listeners\": nonsense\n}");
    assert_eq!(status, 400);
    for part in [
        r#""error": "Invalid JSON.""#,
        r#""line": 2"#,
        r#""column": "#,
        r#""offset": "#,
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    let (status, answer) = server.put("/config", r#"{"listeners": {}, "aplications": {}}"#);
    assert_eq!(status, 400);
    assert!(answer.contains("aplications"), "{answer}");
    assert_eq!(server.get("/config"), before);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
}

#[test]
fn the_configuration_survives_a_kill() {
    let mut server = Running::guests(&Daemon, &["hello", "early"]);
    let before = server.get("/config");
    server.signal(Signal::SIGKILL);
    server.wait(DEADLINE);
    server.start_again(&Daemon);
    assert_eq!(server.get("/config"), before);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    server.connect("early").get("/").assert_text("early\n");
}

#[test]
fn status_counts_connections_and_requests() {
    let server = Running::guests(&Daemon, &["hello", "sleep"]);
    let mut client = server.connect("hello");
    for _ in 0..3 {
        client.get("/").assert_text("Hello, world!\n");
    }
    let mut busy = server.connect("sleep");
    busy.send("GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is at work", || server.active("sleep") == "1");
    assert_eq!(server.get("/status/requests/total"), "4");
    assert_eq!(server.get("/status/connections/accepted"), "2");
    assert_eq!(server.get("/status/connections/active"), "1");
    assert_eq!(server.get("/status/connections/idle"), "1");
    assert_eq!(server.get("/status/connections/closed"), "0");
    assert_eq!(server.active("hello"), "0");
    drop((client, busy));
    until("both are closed", || {
        server.get("/status/connections/closed") == "2"
    });
    assert_eq!(server.get("/status/connections/active"), "0");
}

/// The daemon with less address space than a pool takes, as `ulimit -v` has it in KiB.
struct Small;

impl FrontEnd for Small {
    fn command(&self, directory: &Path) -> Command {
        let daemon = Daemon.command(directory);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 67108864 && exec \"$0\" \"$@\""]);
        command.arg(daemon.get_program()).args(daemon.get_args());
        command
    }
}

#[test]
fn status_has_the_instance_limit() {
    let mut server = Running::guests(&Daemon, &["hello", "sleep"]);
    server.connect("hello").get("/");
    let mut busy = server.connect("sleep");
    busy.send("GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is at work", || {
        server.get("/status/instances/active") == "1"
    });
    assert_eq!(server.get("/status/instances/pooled"), "true");
    drop(busy);
    assert_eq!(server.stop().code(), Some(0));

    server.start_again(&Few);
    assert_eq!(server.get("/status/instances/limit"), "3");
}

/// The daemon for three instances at a time.
struct Few;

impl FrontEnd for Few {
    fn command(&self, directory: &Path) -> Command {
        let mut command = Daemon.command(directory);
        command.args(["--max-instances", "3"]);
        command
    }
}

#[test]
fn without_address_space_for_an_instance_pool_the_server_works_without_one() {
    let server = Running::guests(&Small, &["hello"]);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    assert_eq!(server.get("/status/instances/pooled"), "false");
    let line = server.wait_for_log("cannot reserve an instance pool on this machine");
    assert!(line.contains("[warn]"), "{line}");
}

//! `access_log`.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use test_suite::{Running, configuration, until, within};

use crate::support::{Daemon, LONG};

/// A daemon with this access log, in which `@` is its own folder.
fn logging(access_log: &str) -> Running {
    let mut server = Running::idle(&Daemon);
    let folder = server.directory().to_str().unwrap().to_owned();
    let file = test_components::guest("hello");
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}, "{{app}}": {{"pass": "applications/hello"}}}},
            "routes": [{{"match": {{"uri": "/old/*"}}, "action": {{"rewrite": "/new", "return": 301, "location": "/x"}}}},
                       {{"action": {{"return": 404}}}}],
            "access_log": {},
            "applications": {{"hello": {}}}}}"#,
        access_log.replace('@', &folder),
        configuration::application(&file, "")
    );
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    server
}

pub(crate) fn file(server: &Running) -> PathBuf {
    server.directory().join("access.log")
}

/// The lines, as soon as there are so many.
#[track_caller]
pub(crate) fn lines(path: &Path, count: usize) -> Vec<String> {
    within(LONG, "the lines are there", || {
        let text = fs::read_to_string(path).ok()?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    })
}

#[test]
fn access_log_entries_have_the_combined_format() {
    let server = logging(r#""@/access.log""#);
    let mut client = server.connect("app");
    client.send(
        "GET /a?b HTTP/1.1\r\nhost: a\r\nreferer: http://example.com/\r\nuser-agent: me \"x\"\r\n\r\n",
    );
    client.response().assert_text("Hello, world!\n");
    server.connect("main").get("/").assert_page(404);
    // Refused before it is routed.
    let mut client = server.connect("main");
    client.send("GET /c HTTP/1.1\r\n\r\n");
    client.response().assert_page(400);
    let mut lines = lines(&file(&server), 3);
    lines.sort_by_key(|line| line.find("/c ").is_some());
    let first = lines.iter().find(|line| line.contains("/a?b")).unwrap();
    let (front, rest) = first.split_once(" - - [").unwrap();
    assert_eq!(front, "127.0.0.1");
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(time.len(), "31/Dec/1986:19:40:00 +0300".len());
    assert_eq!(
        rest,
        r#""GET /a?b HTTP/1.1" 200 14 "http://example.com/" "me \x22x\x22""#
    );
    let last = lines.last().unwrap();
    assert!(last.contains(r#""GET /c HTTP/1.1" 400 "#), "{last}");
    assert!(last.ends_with(r#" "-" "-""#), "{last}");
}

#[test]
fn the_access_log_has_the_configured_format_and_condition() {
    let server = logging(
        r#"{"path": "@/access.log", "if": "$cookie_session",
            "format": "$host $method $uri $request_uri $status $response_header_location $arg_a $request_id"}"#,
    );
    let mut client = server.connect("main");
    client.get("/old/1");
    client.send("GET /old/2?a=1%0A2 HTTP/1.1\r\nhost: a\r\ncookie: session=1\r\n\r\n");
    assert_eq!(client.response().head.status, 301);
    let lines = lines(&file(&server), 1);
    let (line, id) = lines[0].rsplit_once(' ').unwrap();
    assert_eq!(line, r"a GET /new /old/2?a=1%0A2 301 /x 1\x0A2");
    assert_eq!(id.len(), 32);
    assert_eq!(lines.len(), 1);
}

#[test]
fn clients_cannot_write_control_characters_into_the_access_log() {
    let server =
        logging(r#"{"path": "@/access.log", "format": "$arg_a \"$header_user_agent\" é"}"#);
    let mut client = server.connect("main");
    let agent = "é\u{9b}31m\u{202e}\u{2028}";
    client.send(format!(
        "GET /?a=%C3%A9%9B%C2%85 HTTP/1.1\r\nhost: a\r\nuser-agent: {agent}\r\n\r\n"
    ));
    client.response().assert_page(404);
    assert_eq!(
        lines(&file(&server), 1),
        [r#"é\x9B\xC2\x85 "é\xC2\x9B31m\xE2\x80\xAE\xE2\x80\xA8" é"#]
    );
}

#[test]
fn header_fields_that_the_server_adds_are_in_the_access_log() {
    let server = logging(
        r#"{"path": "@/access.log", "format":
            "$response_header_content_length $response_header_connection"}"#,
    );
    for (request, line) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "54 -"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: x, Close\r\n\r\n",
            "54 close",
        ),
        ("GET / HTTP/1.0\r\nconnection: close\r\n\r\n", "54 -"),
        (
            "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
            "54 keep-alive",
        ),
    ] {
        let mut client = server.connect("main");
        client.send(request);
        client.response().assert_page(404);
        within(LONG, "the line is there", || {
            let text = fs::read_to_string(file(&server)).ok()?;
            (text.lines().last() == Some(line)).then_some(())
        });
        fs::write(file(&server), "").unwrap();
    }
}

#[test]
fn an_access_log_entry_may_be_json() {
    let server = logging(
        r#"{"path": "@/access.log", "format": {"agent": "$header_user_agent", "status": "$status", "none": "$arg_x"}}"#,
    );
    let mut client = server.connect("main");
    client.send("GET / HTTP/1.1\r\nhost: a\r\nuser-agent: \"\\\r\n\r\n");
    client.response().assert_page(404);
    assert_eq!(
        lines(&file(&server), 1),
        [r#"{"agent":"\"\\","status":"404","none":"-"}"#]
    );
}

#[test]
fn sigusr1_reopens_the_access_log() {
    let server = logging(r#""@/access.log""#);
    let moved = server.directory().join("moved");
    server.connect("main").get("/1").assert_page(404);
    lines(&file(&server), 1);
    fs::rename(file(&server), &moved).unwrap();
    server.signal(Signal::SIGUSR1);
    until("it is there again", || file(&server).exists());
    server.connect("main").get("/2").assert_page(404);
    assert!(lines(&file(&server), 1)[0].contains("/2"));
    assert_eq!(lines(&moved, 1).len(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_refuses_the_change() {
    let mut server = Running::idle(&Daemon);
    for (log, path) in [
        (r#""/none/access.log""#, "/access_log"),
        (r#"{"path": "/none/access.log"}"#, "/access_log/path"),
    ] {
        let (status, answer) = server.put("/config", &format!(r#"{{"access_log": {log}}}"#));
        assert_eq!(status, 500);
        assert!(answer.contains(&format!("\"{path}\"")), "{answer}");
        assert!(answer.contains("No such file"), "{answer}");
    }
}

#[test]
fn all_access_log_entries_are_written_before_the_exit() {
    let mut server = logging(r#""@/access.log""#);
    let mut client = server.connect("main");
    for _ in 0..100 {
        client.get("/").assert_page(404);
    }
    server.signal(Signal::SIGTERM);
    assert!(server.wait(LONG).success());
    assert_eq!(
        fs::read_to_string(file(&server)).unwrap().lines().count(),
        100
    );
}

#[test]
fn lost_access_log_entries_are_counted() {
    let server = logging(r#""/dev/full""#);
    server.connect("main").get("/").assert_page(404);
    until("the loss is reported", || {
        server
            .log()
            .contains("/dev/full: 1 lines of output discarded: write failed")
    });
}

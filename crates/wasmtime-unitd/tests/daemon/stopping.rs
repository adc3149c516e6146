//! What does not delay the end of the daemon, and what is not lost with it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use test_suite::{Client, End, FrontEnd as _, Running, configuration, processes, until};

use crate::support::{Daemon, LONG, Process, daemon};

const POST_CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

/// Sends the body of a change byte by byte, for as long as it may, and returns what it is answered.
fn trickle(mut client: UnixStream) -> String {
    client.set_read_timeout(Some(LONG)).unwrap();
    while client.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(10));
    }
    let mut answer = Vec::new();
    // What it sent last has perhaps not been read, which resets the connection.
    _ = client.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_slow_client_of_the_control_api_does_not_delay_closing_the_listeners_at_shutdown() {
    let mut server = Running::guests(&Daemon, &["echo"]);
    let mut busy = server.connect("echo");
    busy.send(POST_CHUNKED);
    assert_eq!(busy.head().status, 200);
    let mut slow = UnixStream::connect(server.control_socket()).unwrap();
    // Before another is answered, so that it is in progress then.
    slow.write_all(b"PUT /config HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
        .unwrap();
    let slow = thread::spawn(|| trickle(slow));
    assert_eq!(server.control("GET", "/config", "").0, 200);

    let signalled = Instant::now();
    server.signal(Signal::SIGTERM);
    until("clients are refused", || {
        TcpStream::connect(server.address("echo")).is_err()
    });
    let refused_after = signalled.elapsed();
    assert!(refused_after < Duration::from_secs(5), "{refused_after:?}");
    let answer = slow.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(server.is_alive());
    busy.send("5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(busy.rest(), (b"hello".to_vec(), vec![], End::Complete));
    assert_eq!(server.wait(LONG).code(), Some(0));
}

#[test]
fn a_proxied_client_of_the_control_api_does_not_delay_a_graceful_shutdown() {
    let mut server = Running::idle(&Daemon);
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}}},
             "routes": [{{"action": {{"proxy": "http://unix:{}"}}}}]}}"#,
        server.control_socket().display()
    );
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    let mut slow = server.connect("main");
    slow.send("PUT /config HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n ");
    // Its body is awaited when a further one can be answered.
    assert_eq!(server.connect("main").get("/status").head.status, 200);
    let signalled = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(LONG).code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(30));
}

#[test]
fn no_request_is_refused_during_the_shutdown_delay() {
    const DELAY: Duration = Duration::from_secs(3);
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-delay", "3"]);
    let mut server = Running::launch(command, directory);
    let (status, answer) = server.put("/config", &configuration::guests(&["hello"]));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(server.control("GET", "/status/ready", "").0, 200);
    let address = server.address("hello");
    // Each request on a connection of its own, until one fails.
    let load = move || {
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let mut requests = 0;
        loop {
            let answered = TcpStream::connect(address).ok().and_then(|stream| {
                let mut client = Client::over(stream);
                client.try_send(request).ok()?;
                client.try_response().ok()
            });
            let Some(response) = answered else {
                return (requests, Instant::now());
            };
            response.assert_text("Hello, world!\n");
            requests += 1;
            // Enough load, without using up the machine's ports.
            thread::sleep(Duration::from_millis(1));
        }
    };
    let clients: Vec<_> = (0..4).map(|_| thread::spawn(load)).collect();
    let signalled = Instant::now();
    server.signal(Signal::SIGTERM);
    let line = server.wait_for_log("SIGTERM");
    assert!(line.contains("3 more seconds (--shutdown-delay)"), "{line}");
    assert_eq!(server.control("GET", "/status/ready", "").0, 503);
    assert_eq!(server.control("GET", "/status/live", "").0, 200);
    for client in clients {
        let (requests, failed_at) = client.join().unwrap();
        assert!(requests > 0);
        let after = failed_at - signalled;
        assert!(after >= DELAY, "refused {after:?} after the signal");
    }
    assert_eq!(server.wait(LONG).code(), Some(0));
}

#[test]
fn keep_alive_connections_end_with_their_next_response_in_the_shutdown_delay() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-delay", "3600"]);
    let mut server = Running::launch(command, directory);
    let (status, answer) = server.put("/config", &configuration::guests(&["hello", "echo"]));
    assert_eq!(status, 200, "{answer}");
    let mut kept = server.connect("hello");
    let response = kept.get("/");
    assert_eq!(response.head.field("connection"), None);
    let mut busy = server.connect("echo");
    busy.send(POST_CHUNKED);
    assert_eq!(busy.head().status, 200);

    server.signal(Signal::SIGTERM);
    server.wait_for_log("--shutdown-delay");
    // Also one that is opened after the signal.
    for mut client in [kept, server.connect("hello")] {
        let response = client.get("/");
        response.assert_text("Hello, world!\n");
        assert_eq!(response.head.field("connection"), Some("close"));
        client.closed();
    }
    // A response in progress is not cut off.
    busy.send("5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(busy.rest(), (b"hello".to_vec(), vec![], End::Complete));
}

#[test]
fn a_second_signal_ends_the_shutdown_delay() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-delay", "3600"]);
    let mut server = Running::launch(command, directory);
    server.signal(Signal::SIGTERM);
    server.wait_for_log("--shutdown-delay");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(LONG).code(), Some(1));
}

#[test]
fn serve_has_a_shutdown_delay() {
    let serve = Process::spawn(
        daemon()
            .arg("serve")
            .arg(test_components::guest("hello"))
            .args(["--listen", "127.0.0.1:0", "--shutdown-delay", "1"])
            .stdin(Stdio::null()),
    );
    until("it serves", || serve.output().contains("Serving "));
    let signalled = Instant::now();
    processes::send(serve.child.id(), Signal::SIGTERM).unwrap();
    let ended = serve.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(signalled.elapsed() >= Duration::from_secs(1), "{ended:?}");
}

#[test]
fn requests_aborted_at_shutdown_are_in_the_access_log() {
    let directory = tempfile::tempdir().unwrap();
    let access_log = directory.path().join("access.log");
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-timeout", "1", "--threads", "2"]);
    let mut server = Running::launch(command, directory);
    let guests = configuration::guests(&["sleep", "spin"]);
    let configuration = guests.replacen(
        '{',
        &format!(
            r#"{{"access_log": {{"path": "{}", "format": "$request_uri"}},"#,
            access_log.display()
        ),
        1,
    );
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    // On both workers, and in the background.
    let mut clients: Vec<_> = (0..4).map(|_| server.connect("sleep")).collect();
    for client in &mut clients {
        client.send("GET /?60000 HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let mut computing = server.connect("spin");
    computing.send("GET /spin HTTP/1.1\r\nhost: a\r\n\r\n");
    until("all are at work", || {
        server.active("sleep") == "4" && server.active("spin") == "1"
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(LONG).code(), Some(1));
    let log = fs::read_to_string(&access_log).unwrap();
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["/?60000", "/?60000", "/?60000", "/?60000", "/spin"]);
}

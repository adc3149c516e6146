//! Listeners on Unix sockets.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use test_suite::{
    Client, DEADLINE, NoAnswer, Running, configuration, curl, has_curl, until, within,
};

use crate::peer::Pair;
use crate::support::{Daemon, LONG};

const ROUTES: &str = r#"[
    {"match": {"uri": "/echo"}, "action": {"pass": "applications/echo"}},
    {"match": {"source": "unix", "destination": "unix"},
     "action": {"return": 200, "response_headers": {"x-addr": "unix $remote_addr"}}},
    {"action": {"return": 200, "response_headers": {"x-addr": "other $remote_addr"}}}
]"#;

/// A configuration with these listeners, in which `{main}` is one of TCP.
fn listening(listeners: &str) -> String {
    let guest = configuration::application(&test_components::guest("echo"), "");
    format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}{listeners}}},
            "routes": {ROUTES}, "applications": {{"echo": {guest}}}}}"#
    )
}

/// A further listener of such a configuration.
fn on(path: &Path) -> String {
    format!(r#", "unix:{}": {{"pass": "routes"}}"#, path.display())
}

/// A daemon that listens on `{main}`, and on the socket with this name in its folder.
fn start(name: &str) -> (Running, PathBuf) {
    let mut server = Running::idle(&Daemon);
    let path = server.directory().join(name);
    let (status, answer) = server.put("/config", &listening(&on(&path)));
    assert_eq!(status, 200, "{answer}");
    (server, path)
}

fn connect(path: &Path) -> Client<UnixStream> {
    Client::over(UnixStream::connect(path).unwrap())
}

/// What routes make of the client.
#[track_caller]
fn seen(client: &mut Client<UnixStream>) -> String {
    let response = client.get("/");
    response.head.field("x-addr").unwrap_or_default().to_owned()
}

/// Device and inode.
fn identity(path: &Path) -> (u64, u64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

#[test]
fn clients_on_a_unix_socket_path_are_served_and_matched_by_routes() {
    let (server, path) = start("a.sock");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let mut client = connect(&path);
    assert_eq!(seen(&mut client), "unix unix:");
    // The connection stays usable, with bodies in both directions.
    let body = "0123456789".repeat(10_000);
    assert_eq!(client.post("/echo", &body).text(), body);
    let response = server.connect("main").get("/");
    assert_eq!(response.head.field("x-addr"), Some("other 127.0.0.1"));
}

#[test]
fn clients_on_an_abstract_socket_are_served() {
    let mut server = Running::idle(&Daemon);
    let name = format!("wasmtime-unitd-test-{}", server.pid());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = format!(r#", "unix:@{name}": {{"pass": "routes"}}"#);
    let (status, answer) = server.put("/config", &listening(&listener));
    assert_eq!(status, 200, "{answer}");
    let mut client = Client::over(UnixStream::connect_addr(&address).unwrap());
    assert_eq!(seen(&mut client), "unix unix:");
    assert_eq!(server.put("/config", &listening("")).0, 200);
    until("the name is free", || {
        UnixListener::bind_addr(&address).is_ok()
    });
    // Another process has it now.
    let _taken = UnixListener::bind_addr(&address).unwrap();
    let (status, answer) = server.put("/config", &listening(&listener));
    assert_eq!(status, 500, "{answer}");
    assert!(
        answer.contains(&format!(
            "cannot listen on unix:@{name}: Address already in use"
        )),
        "{answer}"
    );
}

#[test]
fn forwarded_fields_of_a_trusted_unix_socket_peer_are_used() {
    let mut server = Running::idle(&Daemon);
    let path = server.directory().join("a.sock");
    let listener = format!(
        r#", "unix:{}": {{"pass": "routes", "forwarded": {{"client_ip": "X-Forwarded-For", "source": "unix"}}}}"#,
        path.display()
    );
    let (status, answer) = server.put("/config", &listening(&listener));
    assert_eq!(status, 200, "{answer}");
    let mut client = connect(&path);
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: ::11.22.33.44\r\n\r\n");
    let response = client.response();
    assert_eq!(response.head.field("x-addr"), Some("other ::11.22.33.44"));
    assert_eq!(seen(&mut client), "unix unix:");
}

#[test]
fn a_change_keeps_unix_sockets_and_removes_the_files_of_closed_ones() {
    let (mut server, path) = start("a.sock");
    let other = server.directory().join("b.sock");
    let before = identity(&path);
    let mut kept = connect(&path);
    assert_eq!(seen(&mut kept), "unix unix:");
    let both = on(&path) + &on(&other);
    assert_eq!(server.put("/config", &listening(&both)).0, 200);
    assert_eq!(identity(&path), before);
    assert_eq!(seen(&mut kept), "unix unix:");
    assert_eq!(seen(&mut connect(&other)), "unix unix:");

    assert_eq!(server.put("/config", &listening(&on(&other))).0, 200);
    until("the file goes", || !path.exists());
    assert!(matches!(kept.closed(), NoAnswer::Closed | NoAnswer::Reset));
    assert_eq!(seen(&mut connect(&other)), "unix unix:");
    // It can be had again at once.
    assert_eq!(server.put("/config", &listening(&both)).0, 200);
    assert_eq!(seen(&mut connect(&path)), "unix unix:");
    for _ in 0..10 {
        assert_eq!(server.put("/config", &listening(&on(&other))).0, 200);
        assert_eq!(server.put("/config", &listening(&both)).0, 200);
        assert_eq!(seen(&mut connect(&path)), "unix unix:");
    }
}

#[test]
fn socket_files_of_other_processes_are_not_replaced() {
    let mut server = Running::idle(&Daemon);
    let folder = server.directory().to_owned();
    let (file, live) = (folder.join("file"), folder.join("live"));
    fs::write(&file, "kept").unwrap();
    let listener = UnixListener::bind(&live).unwrap();
    let missing = folder.join("none/a");
    let fresh = folder.join("fresh");
    for (path, why) in [
        (&file, "the file exists and is not a socket"),
        (&live, "another server listens there"),
        (&missing, "No such file or directory"),
    ] {
        // What was bound before is given back.
        let (status, answer) = server.put("/config", &listening(&(on(&fresh) + &on(path))));
        assert_eq!(status, 500, "{answer}");
        let expected = format!("cannot listen on unix:{}: {why}", path.display());
        assert!(answer.contains(&expected), "{answer}");
        assert!(!fresh.exists());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    UnixStream::connect(&live).unwrap();
    drop(listener);

    // No process listens there any more.
    let (status, answer) = server.put("/config", &listening(&on(&live)));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(seen(&mut connect(&live)), "unix unix:");
    // Another process has put its socket there.
    fs::remove_file(&live).unwrap();
    let _theirs = UnixListener::bind(&live).unwrap();
    server.stop();
    UnixStream::connect(&live).unwrap();
}

#[test]
fn a_killed_server_gets_its_unix_sockets_back_at_the_next_start() {
    let (mut server, path) = start("a.sock");
    let before = identity(&path);
    server.signal(Signal::SIGKILL);
    server.wait(DEADLINE);
    assert_eq!(identity(&path), before);
    server.start_again(&Daemon);
    within(LONG, "it listens", || UnixStream::connect(&path).ok());
    assert_eq!(seen(&mut connect(&path)), "unix unix:");
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_request_in_progress_is_finished_before_the_server_ends() {
    let (mut server, path) = start("a.sock");
    let mut client = connect(&path);
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
    assert_eq!(client.head().status, 200);
    server.signal(Signal::SIGTERM);
    until("the file goes", || !path.exists());
    assert!(server.is_alive());
    client.send("cd");
    let (body, _, _) = client.rest();
    assert_eq!(body, b"abcd");
    assert!(server.wait(DEADLINE).success());
}

#[test]
fn tls_and_http_2_are_spoken_on_unix_sockets() {
    if !has_curl() {
        return;
    }
    let pair = Pair::new(&["localhost"]);
    let mut server = Running::idle(&Daemon);
    pair.upload(&server, "one");
    let path = server.directory().join("a.sock");
    let plain = server.directory().join("b.sock");
    let listener = format!(
        r#", "unix:{}": {{"pass": "routes", "tls": {{"certificate": "one"}}}}{}"#,
        path.display(),
        on(&plain)
    );
    let (status, answer) = server.put("/config", &listening(&listener));
    assert_eq!(status, 200, "{answer}");
    let file = pair.file(&server, "one").display().to_string();
    let ask = |socket: &Path, arguments: &[&str]| {
        let socket = socket.display().to_string();
        let always = ["--unix-socket", &socket, "--write-out", " %{http_version}"];
        let output = curl(always.iter().chain(arguments));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let url = "https://localhost/echo";
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = ask(&path, &[flag, "--cacert", &file, "--data", "abc", url]);
        assert_eq!(answer, format!("abc {version}"));
    }
    let answer = ask(&path, &["--include", "--http1.1", "http://localhost/"]);
    assert!(
        answer.starts_with("HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n"),
        "{answer}"
    );
    let prior = [
        "--http2-prior-knowledge",
        "--data",
        "abc",
        "http://localhost/echo",
    ];
    assert_eq!(ask(&plain, &prior), "abc 2");
    // An idle connection does not delay others.
    let _silent = UnixStream::connect(&path).unwrap();
    assert_eq!(
        ask(&path, &["--cacert", &file, "--data", "abc", url]),
        "abc 2"
    );
}

//! Sockets that a service manager has opened: they are used, and a restart refuses no connection.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use test_suite::{Client, FrontEnd as _, processes, until, within};

use crate::support::{Daemon, Ended, LONG, daemon};

/// What a service manager does: it keeps the sockets, and starts the server with them.
struct Manager {
    directory: TempDir,
    /// A listener's, and that of the control API.
    sockets: [OwnedFd; 2],
    address: SocketAddr,
}

/// A server that is killed with its test.
struct Activated(Child);

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let control = UnixListener::bind(directory.path().join("control.sock")).unwrap();
        Self {
            directory,
            sockets: [listener.into(), control.into()],
            address,
        }
    }

    /// Keeps a configuration that answers 204 at this address.
    fn configure(&self) {
        let state = self.directory.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("conf.json"), configuration(self.address)).unwrap();
    }

    fn control_socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("unit.log")).unwrap_or_default()
    }

    /// Starts the daemon.
    fn start(&self) -> Activated {
        self.start_command(&Daemon.command(self.directory.path()))
    }

    /// Starts `command` with the sockets as descriptors 3 and 4.
    fn start_command(&self, command: &Command) -> Activated {
        let script =
            r#"exec 3<&0 4<&1 </dev/null >"$OUTPUT"; LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
        let [first, second] = self.sockets.each_ref().map(|it| it.try_clone().unwrap());
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(script)
            .arg(command.get_program())
            .args(command.get_args())
            .env("OUTPUT", self.directory.path().join("output"))
            .stdin(Stdio::from(first))
            .stdout(Stdio::from(second))
            .stderr(File::create(self.directory.path().join("errors")).unwrap());
        Activated(shell.spawn().unwrap())
    }

    /// The status of a request to the control API, which waits until that is served.
    fn control(&self, method: &str, path: &str, body: &str) -> u16 {
        let stream = UnixStream::connect(self.control_socket()).unwrap();
        let mut client = Client::over(stream).with_deadline(LONG);
        let length = body.len();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        client.response().head.status
    }
}

impl Activated {
    fn stop(mut self) -> ExitStatus {
        processes::send(self.0.id(), Signal::SIGTERM).unwrap();
        within(LONG, "the server ends", || self.0.try_wait().unwrap())
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configuration(address: SocketAddr) -> String {
    format!(
        r#"{{"listeners": {{"{address}": {{"pass": "routes"}}}}, "routes": [{{"action": {{"return": 204}}}}]}}"#
    )
}

#[test]
fn a_restart_with_inherited_sockets_refuses_no_connection() {
    let manager = Manager::new();
    manager.configure();
    let (address, is_over) = (manager.address, AtomicBool::new(false));
    let mut server = manager.start();
    assert_eq!(manager.control("GET", "/status/ready", ""), 200);
    let server = thread::scope(|scope| {
        let load = || {
            let mut requests = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut client = Client::over(TcpStream::connect(address)?).with_deadline(LONG);
                client.try_send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
                let response = client.try_response();
                let response =
                    response.map_err(|error| std::io::Error::other(format!("{error:?}")))?;
                assert_eq!(response.head.status, 204);
                requests += 1;
                thread::sleep(Duration::from_millis(1));
            }
            Ok::<_, std::io::Error>(requests)
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        for _ in 0..5 {
            assert_eq!(server.stop().code(), Some(0));
            server = manager.start();
            assert_eq!(manager.control("GET", "/status/ready", ""), 200);
        }
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            let requests = client.join().unwrap();
            assert!(requests.as_ref().is_ok_and(|it| *it > 0), "{requests:?}");
        }
        server
    });
    assert_eq!(server.stop().code(), Some(0));
    // The file is the service manager's.
    assert!(manager.control_socket().exists());
    assert!(!manager.log().contains("LISTEN_FDS"), "{}", manager.log());
}

#[test]
fn an_inherited_socket_that_no_listener_uses_is_a_warning_and_serves_a_later_one() {
    let manager = Manager::new();
    let _server = manager.start();
    assert_eq!(manager.control("GET", "/config", ""), 200);
    let address = manager.address;
    let warning = format!("no listener has the address {address} of an inherited socket");
    until("it is in the log", || manager.log().contains(&warning));
    for _ in 0..2 {
        let configuration = configuration(address);
        assert_eq!(manager.control("PUT", "/config", &configuration), 200);
        assert_eq!(Client::connect(address).get("/").head.status, 204);
        assert_eq!(manager.control("DELETE", "/config", ""), 200);
    }
}

#[test]
fn an_inherited_descriptor_that_does_not_listen_is_closed_with_a_warning() {
    let mut manager = Manager::new();
    manager.sockets[0] = UdpSocket::bind("127.0.0.1:0").unwrap().into();
    let server = manager.start();
    assert_eq!(manager.control("GET", "/config", ""), 200);
    let warning = "[warn] inherited socket 0 of LISTEN_FDS cannot be used: ";
    until("it is in the log", || manager.log().contains(warning));
    drop(server);
    let connected = TcpStream::connect(manager.address);
    assert!(connected.is_err(), "the socket is gone");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    manager.sockets[0] = stream.into();
    let _server = manager.start();
    assert_eq!(manager.control("GET", "/config", ""), 200);
    let warning = "cannot be used: the socket does not listen; closing it";
    until("it is in the log", || manager.log().contains(warning));
}

#[test]
fn a_second_inherited_socket_of_one_address_is_a_warning() {
    let mut manager = Manager::new();
    manager.sockets[1] = manager.sockets[0].try_clone().unwrap();
    manager.configure();
    let _server = manager.start();
    let warning = format!(
        "[warn] inherited socket 1 of LISTEN_FDS has the address {} of another one, and is not used",
        manager.address
    );
    until("it is in the log", || manager.log().contains(&warning));
    assert_eq!(Client::connect(manager.address).get("/").head.status, 204);
}

#[test]
fn serve_listens_on_the_only_inherited_socket() {
    let manager = Manager::new();
    let mut command = daemon();
    let health = format!("unix:{}", manager.control_socket().display());
    command
        .arg("serve")
        .arg(test_components::guest("hello"))
        .args(["--listen-health", &health]);
    let server = manager.start_command(&command);
    let mut client = Client::connect(manager.address).with_deadline(LONG);
    client.get("/").assert_text("Hello, world!\n");
    let stream = UnixStream::connect(manager.control_socket()).unwrap();
    assert_eq!(Client::over(stream).get("/ready").head.status, 200);
    assert_eq!(server.stop().code(), Some(0));
    assert!(manager.control_socket().exists());
}

#[test]
fn sockets_for_another_process_and_malformed_numbers_are_not_taken() {
    let start = |pid: &str, count: &str| {
        let script =
            format!(r#"LISTEN_PID={pid} LISTEN_FDS={count} exec "$0" serve /nowhere/x.wasm"#);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(daemon().get_program());
        Ended::of(&mut shell)
    };
    for pid in ["1", "", "x"] {
        start(pid, "1").assert_refused("/nowhere/x.wasm");
    }
    for count in ["", "x", "-1", "1025", "4294967295"] {
        let message = format!("LISTEN_FDS is not a number up to 1024: \"{count}\"");
        start("$$", count).assert_refused(&message);
    }
    start("$$", "500").assert_refused("LISTEN_FDS is 500, but descriptor ");
}

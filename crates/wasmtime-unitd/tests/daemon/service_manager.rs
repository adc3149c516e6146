//! Notifications of a service manager such as systemd.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;
use test_suite::{FrontEnd as _, Running, configuration, processes};

use crate::support::{Daemon, LONG, Process, daemon};

/// A service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    /// Has `command` notify a new service manager, whose socket is in `directory`.
    fn of(command: &mut Command, directory: &Path) -> Self {
        let path = directory.join("notify");
        command.env("NOTIFY_SOCKET", &path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self(socket)
    }

    /// The next message.
    fn next(&self) -> String {
        let mut message = vec![0; 64 << 10];
        let length = self.0.recv(&mut message).unwrap();
        message.truncate(length);
        String::from_utf8(message).unwrap()
    }

    /// Waits for this message, and returns those before it.
    #[track_caller]
    fn wait_for(&self, expected: &str) -> Vec<String> {
        let started = Instant::now();
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message == expected {
                return before;
            }
            before.push(message);
            assert!(started.elapsed() < LONG, "no {expected:?} in {before:?}");
        }
    }
}

#[test]
fn a_service_manager_is_notified_of_start_readiness_reload_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-timeout", "20", "--shutdown-delay", "1"]);
    let manager = Manager::of(&mut command, directory.path());
    let mut server = Running::launch(command, directory);
    let none = "STATUS=not ready: no configuration yet: no listeners are configured\n";
    // In any order.
    let mut expected = vec![none, "READY=1\n"];
    while !expected.is_empty() {
        let message = manager.next();
        expected.retain(|it| *it != message);
    }
    let guests = configuration::guests(&["hello"]);
    assert_eq!(server.put("/config", &guests).0, 200);
    assert_eq!(manager.wait_for("STATUS=ready\n"), [""; 0]);
    server.signal(Signal::SIGHUP);
    let reloading = manager.next();
    let microseconds = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let microseconds = microseconds.and_then(|it| it.trim_end().parse::<u64>().ok());
    assert!(microseconds.is_some_and(|it| it > 0), "{reloading:?}");
    assert_eq!(manager.next(), "READY=1\n");
    server.signal(Signal::SIGTERM);
    // The reserve of ten seconds included.
    let before = manager.wait_for("STOPPING=1\nEXTEND_TIMEOUT_USEC=31000000\n");
    assert!(
        before
            .iter()
            .all(|it| it == "STATUS=not ready: shutting down\n"),
        "{before:?}"
    );
    assert_eq!(server.wait(LONG).code(), Some(0));
}

#[test]
fn the_watchdog_is_pinged_while_the_server_is_live() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.env("WATCHDOG_USEC", "300000");
    let manager = Manager::of(&mut command, directory.path());
    let _server = Running::launch(command, directory);
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1\n");
    }
}

#[test]
fn no_watchdog_is_pinged_that_waits_for_another_process_or_for_none() {
    for (usec, pid) in [("300000", "1"), ("0", ""), ("x", ""), ("-1", "")] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Daemon.command(directory.path());
        command.env("WATCHDOG_USEC", usec);
        if !pid.is_empty() {
            command.env("WATCHDOG_PID", pid);
        }
        let manager = Manager::of(&mut command, directory.path());
        let mut server = Running::launch(command, directory);
        assert_eq!(server.stop().code(), Some(0), "{usec}");
        manager.0.set_nonblocking(true).unwrap();
        let mut message = [0; 1024];
        loop {
            match manager.0.recv(&mut message) {
                Ok(length) => assert_ne!(&message[..length], b"WATCHDOG=1\n", "{usec}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
    }
}

#[test]
fn serve_tells_a_service_manager_when_it_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = daemon();
    command
        .arg("serve")
        .arg(test_components::guest("hello"))
        .args(["--listen", "127.0.0.1:0"])
        .stdin(Stdio::null());
    let manager = Manager::of(&mut command, directory.path());
    let serve = Process::spawn(&mut command);
    manager.wait_for("READY=1\n");
    assert!(serve.output().contains("Serving "), "{}", serve.output());
    processes::send(serve.child.id(), Signal::SIGTERM).unwrap();
    assert_eq!(serve.ended().code, Some(0));
}

#[test]
fn a_service_manager_that_cannot_be_reached_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.env("NOTIFY_SOCKET", directory.path().join("none"));
    let mut server = Running::launch(command, directory);
    let line = server.wait_for_log("cannot notify the service manager (NOTIFY_SOCKET)");
    assert!(line.contains("[warn]"), "{line}");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_service_manager_that_takes_no_messages_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    command.args(["--shutdown-timeout", "5"]);
    command.env("WATCHDOG_USEC", "300000");
    let manager = Manager::of(&mut command, directory.path());
    let full = UnixDatagram::unbound().unwrap();
    full.connect(directory.path().join("notify")).unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send(b"X=1\n").is_ok() {}
    let mut server = Running::launch(command, directory);
    let guests = configuration::guests(&["hello"]);
    assert_eq!(server.put("/config", &guests).0, 200);
    for _ in 0..100 {
        // More messages than may wait.
        server.signal(Signal::SIGHUP);
        assert_eq!(server.control("GET", "/status/live", "").0, 200);
    }
    assert_eq!(server.connect("hello").get("/").head.status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(LONG).code(), Some(0));
    drop(manager);
}

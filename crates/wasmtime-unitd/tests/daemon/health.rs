//! Health checks: when the daemon is live and ready, and that `serve` is, too.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use test_suite::{Client, FrontEnd, Running, configuration, free_address, until, within};

use crate::support::{Daemon, LONG, Process, daemon};

/// The daemon with a TCP socket for health checks.
struct WithHealth;

impl FrontEnd for WithHealth {
    fn command(&self, directory: &Path) -> Command {
        let mut command = Daemon.command(directory);
        command.args(["--listen-health", "127.0.0.1:0"]);
        command
    }

    fn settings(&self) -> &'static str {
        Daemon.settings()
    }
}

/// The address in the newest line of a log that says where health checks are answered.
fn address_in(log: &str) -> Option<SocketAddr> {
    let mut lines = log.lines().rev();
    lines.find_map(|line| line.split_once("health checks on ")?.1.parse().ok())
}

fn address(server: &Running) -> SocketAddr {
    within(LONG, "health checks are answered", || {
        // A server that has ended before may have left the last line so far.
        let address = address_in(&server.log())?;
        TcpStream::connect(address).ok().map(|_| address)
    })
}

/// The status of a check, and its reason.
fn check(address: SocketAddr, target: &str) -> (u16, String) {
    let response = Client::connect(address).get(target);
    (response.head.status, reason(response.text()))
}

fn reason(json: &str) -> String {
    let reason = json.split_once("\"reason\": \"");
    let (_, reason) = reason.unwrap_or_default();
    reason.rsplit_once('"').unwrap_or_default().0.to_owned()
}

const READY: (u16, String) = (200, String::new());

fn not_ready(reason: &str) -> (u16, String) {
    (503, reason.to_owned())
}

#[test]
fn a_daemon_is_ready_while_its_configuration_has_listeners() {
    let mut server = Running::idle(&WithHealth);
    let health = address(&server);
    let none = not_ready("no configuration yet: no listeners are configured");
    assert_eq!(check(health, "/ready"), none);
    assert_eq!(check(health, "/live"), READY);
    let configuration = configuration::guests(&["hello"]);
    assert_eq!(server.put("/config", &configuration).0, 200);
    assert_eq!(check(health, "/ready"), READY);
    assert_eq!(
        server.get("/status/ready"),
        "{\r\n\t\"status\": \"ready\"\r\n}"
    );
    assert_eq!(server.control("GET", "/status/live", "").0, 200);
    // A change that is refused changes nothing.
    assert_eq!(server.put("/config/listeners", "5").0, 400);
    assert_eq!(check(health, "/ready"), READY);
    assert_eq!(server.control("DELETE", "/config", "").0, 200);
    assert_eq!(check(health, "/ready"), none);
    let (status, answer) = server.control("GET", "/status/ready", "");
    assert_eq!((status, reason(&answer)), none);
}

#[test]
fn a_daemon_with_an_application_that_does_not_load_is_not_ready_until_it_does() {
    let mut server = Running::idle(&WithHealth);
    let file = server.directory().join("gone.wasm");
    fs::copy(test_components::guest("early"), &file).unwrap();
    let hello = test_components::guest("hello");
    let applications = [
        ("hello", configuration::application(&hello, "")),
        ("gone", configuration::application(&file, "")),
    ];
    let configuration = configuration::applications_of(&applications);
    assert_eq!(server.put("/config", &configuration).0, 200);
    assert_eq!(check(address(&server), "/ready"), READY);
    assert_eq!(server.stop().code(), Some(0));
    fs::remove_file(&file).unwrap();
    server.start_again(&WithHealth);
    let health = address(&server);
    let expected = not_ready("not loaded: applications \\\"gone\\\"");
    assert_eq!(check(health, "/ready"), expected);
    assert_eq!(check(health, "/live"), READY);
    fs::copy(test_components::guest("early"), &file).unwrap();
    let restart = "/control/applications/gone/restart";
    assert_eq!(server.control("GET", restart, "").0, 200);
    assert_eq!(check(health, "/ready"), READY);
}

#[test]
fn a_daemon_that_could_not_bind_a_listener_at_its_start_is_not_ready() {
    let mut server = Running::guests(&WithHealth, &["hello", "early"]);
    assert_eq!(server.stop().code(), Some(0));
    let taken = TcpListener::bind(server.address("early")).unwrap();
    server.start_again(&WithHealth);
    let health = address(&server);
    let early = server.address("early");
    let expected = not_ready(&format!("not open: listeners \\\"{early}\\\""));
    assert_eq!(check(health, "/ready"), expected);
    drop(taken);
    // The next change binds it.
    let pass = server.put("/config/listeners/{early}/pass", "\"applications/early\"");
    assert_eq!(pass.0, 200);
    assert_eq!(check(health, "/ready"), READY);
}

#[test]
fn a_daemon_that_still_starts_is_live_and_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let conf = state.join("conf.json");
    // Reading it lasts until it has been written.
    mkfifo(&conf, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let mut command = WithHealth.command(directory.path());
    let process = Process::spawn(command.stdin(Stdio::null()));
    let log = directory.path().join("unit.log");
    let health = within(LONG, "health checks are answered", || {
        address_in(&fs::read_to_string(&log).unwrap_or_default())
    });
    let starting = not_ready("starting: the configuration is not in force yet");
    assert_eq!(check(health, "/ready"), starting);
    assert_eq!(check(health, "/live"), READY);
    let listener = free_address();
    let configuration = format!(
        r#"{{"listeners": {{"{listener}": {{"pass": "routes"}}}}, "routes": [{{"action": {{"return": 204}}}}]}}"#
    );
    let mut kept = OpenOptions::new().write(true).open(&conf).unwrap();
    kept.write_all(configuration.as_bytes()).unwrap();
    drop(kept);
    until("the daemon is ready", || check(health, "/ready") == READY);
    assert_eq!(Client::connect(listener).get("/").head.status, 204);
    drop(process);
}

#[test]
fn a_daemon_that_shuts_down_is_live_and_not_ready() {
    let mut server = Running::guests(&WithHealth, &["sleep"]);
    let health = address(&server);
    let mut busy = server.connect("sleep");
    busy.send("GET /?3000 HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it is at work", || server.active("sleep") == "1");
    server.signal(Signal::SIGTERM);
    let shutting_down = not_ready("shutting down");
    until("it is not ready", || {
        check(health, "/ready") == shutting_down
    });
    assert_eq!(check(health, "/live"), READY);
    assert_eq!(busy.response().head.status, 200);
    assert_eq!(server.wait(LONG).code(), Some(0));
}

#[test]
fn health_checks_can_be_answered_on_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("health.sock");
    let mut command = Daemon.command(directory.path());
    command
        .arg("--listen-health")
        .arg(format!("unix:{}", socket.display()));
    let mut server = Running::launch(command, directory);
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let stream = UnixStream::connect(&socket).unwrap();
    assert_eq!(Client::over(stream).get("/live").head.status, 200);
    assert_eq!(server.stop().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn an_address_for_health_checks_that_is_taken_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Daemon.command(directory.path());
    let ended = Process::spawn(
        command
            .args(["--listen-health", &address])
            .stdin(Stdio::null()),
    );
    let socket = format!("cannot open the socket for health checks {address}");
    ended.ended().assert_refused(&socket);
}

#[test]
fn serve_is_ready_once_its_component_is_loaded() {
    let serve = Process::spawn(
        daemon()
            .arg("serve")
            .arg(test_components::guest("hello"))
            .args(["--listen", "127.0.0.1:0", "--listen-health", "127.0.0.1:0"])
            .stdin(Stdio::null()),
    );
    let health = within(LONG, "health checks are answered", || {
        address_in(&serve.errors())
    });
    until("it is ready", || check(health, "/ready") == READY);
    assert!(serve.output().contains("Serving "), "{}", serve.output());
    assert_eq!(check(health, "/live"), READY);
}

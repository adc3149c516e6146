//! `--initial-config`: the configuration of a server that never had one.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_suite::{Client, FrontEnd, Running, free_address, until};

use crate::support::{Daemon, Ended, Process, Unprivileged, can_become_another_user, run};

/// The daemon with `--initial-config`, and with the flags of another front end.
struct Initial<F>(F);

impl<F: FrontEnd> FrontEnd for Initial<F> {
    fn command(&self, directory: &Path) -> Command {
        let mut command = self.0.command(directory);
        command.arg("--initial-config");
        command.arg(directory.join("initial.json"));
        command
    }
}

/// A folder with the file, in which `{hello}` is the path of a guest.
pub(crate) fn folder(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let hello = test_components::guest("hello").display().to_string();
    let text = text.replace("{hello}", &hello);
    fs::write(directory.path().join("initial.json"), text).unwrap();
    directory
}

/// A configuration with a guest at this address, and a comment.
fn hello(address: impl std::fmt::Display) -> String {
    format!(
        r#"// The first one.
        {{"listeners": {{"{address}": {{"pass": "applications/hello"}}}},
        "applications": {{"hello": {{"type": "wasm-wasi-component", "component": "{{hello}}"}}}}}}"#
    )
}

pub(crate) fn start(directory: tempfile::TempDir) -> Running {
    Running::launch(Initial(Daemon).command(directory.path()), directory)
}

fn kept(directory: &Path) -> PathBuf {
    directory.join("state/conf.json")
}

/// Starts the daemon, which has to refuse.
fn refused(directory: &Path) -> Ended {
    Ended::of(&mut Initial(Daemon).command(directory))
}

#[test]
fn it_is_in_force_once_and_kept_like_a_change_of_a_client() {
    let address = free_address();
    let mut server = start(folder(&hello(address)));
    server.wait_for_log("no configuration yet: started with that of ");
    let mut client = Client::connect(address);
    client.get("/").assert_text("Hello, world!\n");
    assert_eq!(server.control("GET", "/status/ready", "").0, 200);
    let shown = server.get("/config/listeners");
    assert!(shown.contains(&address.to_string()), "{shown}");
    // A change edits it, and is what the next start finds, whatever becomes of the file.
    let path = format!("/config/listeners/{address}");
    assert_eq!(server.control("DELETE", &path, "").0, 200);
    assert_eq!(server.stop().code(), Some(0));
    for text in [Some("nonsense"), None] {
        let file = server.directory().join("initial.json");
        match text {
            Some(text) => fs::write(file, text).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        server.start_again(&Initial(Daemon));
        assert_eq!(server.get("/config/listeners"), "{}");
        assert!(server.get("/config/applications").contains("hello"));
        assert_eq!(server.stop().code(), Some(0));
    }
    assert_eq!(server.log_lines("no configuration yet").len(), 1);
}

#[test]
fn a_state_that_had_a_configuration_is_left_alone() {
    let untouched = |server: &mut Running| {
        server.start_again(&Initial(Daemon));
        let shown = server.get("/config");
        assert!(!shown.contains("hello"), "{shown}");
        assert_eq!(server.stop().code(), Some(0));
    };
    let directory = folder(&hello(free_address()));
    let mut server = Running::launch(Daemon.command(directory.path()), directory);
    assert_eq!(server.control("DELETE", "/config", "").0, 200);
    assert_eq!(server.stop().code(), Some(0));
    untouched(&mut server);
    // A broken one is set aside, and does not become another one, now or later.
    fs::write(kept(server.directory()), "{").unwrap();
    untouched(&mut server);
    untouched(&mut server);
    let rejected = server.directory().join("state/conf.json.rejected");
    assert_eq!(fs::read_to_string(rejected).unwrap(), "{");
    assert_eq!(server.log_lines("no configuration yet"), [""; 0]);
}

#[test]
fn an_unusable_file_ends_the_start_with_the_place_and_keeps_nothing() {
    let missing_file = tempfile::tempdir().unwrap();
    refused(missing_file.path())
        .assert_refused("cannot use the initial configuration: cannot read ");
    let is_a_folder = tempfile::tempdir().unwrap();
    fs::create_dir(is_a_folder.path().join("initial.json")).unwrap();
    refused(is_a_folder.path()).assert_refused("initial.json\" is a folder; expected a file");
    let too_large = format!("{{}}{}", " ".repeat(17 << 20));
    let expression = r#"{"settings": {"http": {"static": {"mime_types": {
        "text/x": "${env:HOME}"}}}}}"#;
    for (text, expected) in [
        ("", "initial.json\", line 1, column 1: "),
        ("{\n  \"listeners\": {", "initial.json\", line 2, column "),
        (
            "{\n  \"listeners\": {\"*:1\": {\"pass\": 1}}}",
            "initial.json\", line 2, column 33: The \"pass\" value must be a string",
        ),
        (&too_large, "the configuration is larger than "),
        (expression, "line 2, column 19: Expressions are not allowed"),
    ] {
        let directory = folder(text);
        let ended = refused(directory.path());
        ended.assert_refused("cannot use the initial configuration: ");
        ended.assert_refused(expected);
        assert!(!kept(directory.path()).exists(), "{text}");
        // The next start tries again.
        fs::write(directory.path().join("initial.json"), "{}").unwrap();
        let mut server = start(directory);
        server.wait_for_log("no configuration yet: started with that of ");
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn what_cannot_be_served_does_not_keep_the_server_from_starting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let free = free_address();
    let text = hello(address).replace(
        r#""applications": {"#,
        r#""applications": {"gone": {"type": "wasm-wasi-component", "component": "/gone.wasm"}, "#,
    );
    let text = text.replace(
        r#""listeners": {"#,
        &format!(r#""listeners": {{"{free}": {{"pass": "applications/gone"}}, "#),
    );
    let mut server = start(folder(&text));
    let line = server.wait_for_log(&address.to_string());
    assert!(line.contains("[error]"), "{line}");
    Client::connect(free).get("/").assert_page(503);
    let (status, answer) = server.control("GET", "/status/ready", "");
    assert!(status == 503 && answer.contains("not open"), "{answer}");
    // It is kept all the same, and complete at the next start.
    drop(taken);
    assert_eq!(server.stop().code(), Some(0));
    server.start_again(&Initial(Daemon));
    Client::connect(address)
        .get("/")
        .assert_text("Hello, world!\n");
}

#[test]
fn expressions_are_allowed_as_in_changes_of_clients_and_never_shown() {
    struct Allowed;
    impl FrontEnd for Allowed {
        fn command(&self, directory: &Path) -> Command {
            let mut command = Initial(Daemon).command(directory);
            command.arg("--allow-substitution");
            command.env("TEST_TARGET", "/a-secret-place");
            command
        }
    }
    let address = free_address();
    let directory = folder(&format!(
        r#"{{"listeners": {{"{address}": {{"pass": "routes"}}}},
        "routes": [{{"action": {{"return": 302, "location": "${{env:TEST_TARGET}}"}}}}]}}"#
    ));
    let mut server = Running::launch(Allowed.command(directory.path()), directory);
    for _ in 0..2 {
        let mut client = Client::connect(address);
        let answer = client.get("/");
        assert_eq!(answer.head.field("location"), Some("/a-secret-place"));
        assert!(server.get("/config").contains("${env:TEST_TARGET}"));
        assert_eq!(server.stop().code(), Some(0));
        server.start_again(&Allowed);
    }
    let kept = fs::read_to_string(kept(server.directory())).unwrap();
    assert!(!kept.contains("secret"), "{kept}");
    assert!(!server.log().contains("secret"));
}

#[test]
fn a_state_that_cannot_be_written_ends_the_start_and_the_next_one_tries_again() {
    let address = free_address();
    let padding = "x".repeat(100 << 10);
    let routes = format!(
        r#""routes": [{{"match": {{"uri": "/{padding}"}}, "action": {{"return": 200}}}}], "#
    );
    let directory = folder(&hello(address).replacen('{', &format!("{{{routes}"), 1));
    // As on a full disk: no file becomes larger than 32 or 64 KiB, by the shell's unit.
    let daemon = Initial(Daemon).command(directory.path());
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"ulimit -f 64 && exec "$@""#, "sh"]);
    limited.arg(daemon.get_program()).args(daemon.get_args());
    let ended = Ended::of(&mut limited);
    ended.assert_refused("cannot use the initial configuration: ");
    ended.assert_refused("conf.json.tmp");
    assert!(!kept(directory.path()).exists());
    let server = start(directory);
    server.wait_for_log("no configuration yet: started with that of ");
    let mut client = Client::connect(address);
    client.get("/").assert_text("Hello, world!\n");
}

#[test]
fn a_crash_during_the_first_start_leaves_all_of_it_or_nothing() {
    let address = free_address();
    for round in 0..12 {
        let directory = folder(&hello(address));
        let process = Process::spawn(&mut Initial(Daemon).command(directory.path()));
        // The last rounds wait until it is kept, so that both cases are tried on any machine.
        if round < 9 {
            std::thread::sleep(Duration::from_millis(15 * round));
        } else {
            until("it is kept", || kept(directory.path()).exists());
        }
        let pid = Pid::from_raw(process.child.id().cast_signed());
        kill(pid, Signal::SIGKILL).unwrap();
        drop(process);
        let server = start(directory);
        let mut client = Client::connect(address);
        client.get("/").assert_text("Hello, world!\n");
        assert_eq!(server.log_lines("cannot restore"), [""; 0]);
    }
}

#[test]
fn it_is_read_and_listened_on_before_root_privileges_are_dropped() {
    use std::os::unix::fs::PermissionsExt as _;
    if !can_become_another_user() {
        return;
    }
    let address = free_address();
    let directory = folder(&hello(address));
    let permissions = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(directory.path(), permissions(0o755)).unwrap();
    fs::set_permissions(directory.path().join("initial.json"), permissions(0o600)).unwrap();
    let command = Initial(Unprivileged).command(directory.path());
    let mut server = Running::launch(command, directory);
    Client::connect(address).get("/");
    // The user can keep changes of it.
    let path = format!("/config/listeners/{address}");
    assert_eq!(server.control("DELETE", &path, "").0, 200);
    assert_eq!(server.stop().code(), Some(0));
    server.start_again(&Initial(Unprivileged));
    assert_eq!(server.get("/config/listeners"), "{}");
}

#[test]
fn it_excludes_files_that_are_watched() {
    run(["--initial-config", "a.json", "--config", "b.json"]).assert_refused("--config");
}

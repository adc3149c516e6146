//! Components that are loaded again when their files change.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use test_suite::{Client, Running, configuration, within};

use crate::support::{Daemon, Process, daemon};

/// By when a change is in force. The documentation says a second; an unoptimised build compiles slowly.
const SOON: Duration = Duration::from_secs(20);

/// Puts another guest in the place of a component, as programs do that write a new file first.
fn replace(component: &Path, guest: &str) {
    let temporary = component.with_extension("new");
    fs::copy(test_components::guest(guest), &temporary).unwrap();
    fs::rename(temporary, component).unwrap();
}

/// A daemon that serves a copy of `hello`, and another as `marker`, which is always loaded again.
fn start(members: &str) -> Running {
    let mut server = Running::idle(&Daemon);
    let component = server.directory().join("component.wasm");
    replace(&component, "hello");
    let marker = server.directory().join("marker.wasm");
    replace(&marker, "hello");
    let text = configuration::applications_of(&[
        ("app", configuration::application(&component, members)),
        (
            "marker",
            configuration::application(&marker, r#""reload": true"#),
        ),
    ]);
    let (status, answer) = server.put("/config", &text);
    assert_eq!(status, 200, "{answer}");
    server
}

/// Waits until the server has looked at all components several times, and has taken up what it found: the marker's
/// component is replaced twice.
fn wait_for_looks(server: &Running) {
    for (guest, text) in [("early", "early\n"), ("hello", "Hello, world!\n")] {
        replace(&server.directory().join("marker.wasm"), guest);
        within(SOON, "the marker", || {
            (server.connect("marker").get("/").body == text.as_bytes()).then_some(())
        });
    }
}

fn wait_for(server: &Running, text: &str) {
    within(SOON, text, || {
        (server.connect("app").get("/").body == text.as_bytes()).then_some(())
    });
}

#[test]
fn a_component_is_loaded_again_when_its_file_is_replaced_or_written() {
    let server = start(r#""reload": true"#);
    let component = server.directory().join("component.wasm");
    wait_for(&server, "Hello, world!\n");
    replace(&component, "early");
    wait_for(&server, "early\n");
    // In place.
    fs::copy(test_components::guest("hello"), &component).unwrap();
    wait_for(&server, "Hello, world!\n");
}

#[test]
fn a_half_written_or_broken_component_is_never_in_force() {
    let server = start(r#""reload": true"#);
    let component = server.directory().join("component.wasm");
    let whole = fs::read(test_components::guest("early")).unwrap();
    let mut client = server.connect("app");
    let mut file = fs::File::create(&component).unwrap();
    // With a pause that is longer than two looks, and then on.
    file.write_all(&whole[..whole.len() / 2]).unwrap();
    file.flush().unwrap();
    let line = server.wait_for_log("cannot load the changed component");
    assert!(line.contains("[error]") && line.contains("app"), "{line}");
    for _ in 0..5 {
        client.get("/").assert_text("Hello, world!\n");
    }
    // It is not tried again and again.
    wait_for_looks(&server);
    assert_eq!(
        server.log_lines("cannot load the changed component").len(),
        1
    );
    file.write_all(&whole[whole.len() / 2..]).unwrap();
    drop(file);
    wait_for(&server, "early\n");
    fs::remove_file(&component).unwrap();
    within(SOON, "the missing file is in the log", || {
        (server.log_lines("cannot load the changed component").len() == 2).then_some(())
    });
    client.get("/").assert_text("early\n");
}

#[test]
fn a_component_without_reload_is_loaded_again_at_sighup_only() {
    let server = start("");
    let component = server.directory().join("component.wasm");
    replace(&component, "early");
    wait_for_looks(&server);
    server
        .connect("app")
        .get("/")
        .assert_text("Hello, world!\n");
    server.signal(Signal::SIGHUP);
    wait_for(&server, "early\n");
    // Nothing to do.
    const RELOADED: &str = "application \"app\" restarted: component loaded again";
    assert_eq!(server.log_lines(RELOADED).len(), 1);
    server.signal(Signal::SIGHUP);
    within(SOON, "the second signal is in the log", || {
        (server.log_lines("SIGHUP").len() == 2).then_some(())
    });
    wait_for_looks(&server);
    assert_eq!(server.log_lines(RELOADED).len(), 1);
}

#[test]
fn serve_watches_its_component() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("component.wasm");
    replace(&component, "hello");
    let address = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let mut command = daemon();
    command.arg("serve").arg(&component);
    command.args(["--watch", "--listen", &address.to_string()]);
    let _server = Process::spawn(&mut command);
    let wait_for = |text: &str| {
        within(SOON, text, || {
            let mut client = Client::try_connect(address)?;
            (client.get("/").body == text.as_bytes()).then_some(())
        });
    };
    wait_for("Hello, world!\n");
    replace(&component, "early");
    wait_for("early\n");
}

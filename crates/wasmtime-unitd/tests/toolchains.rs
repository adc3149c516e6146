//! Components that other tool chains made, behind the daemon: `cargo xtask toolchains` makes them
//! from `guests/toolchains/`, and names their folder in `TOOLCHAIN_COMPONENTS`.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

#[path = "daemon/support.rs"]
#[expect(dead_code, reason = "the rest is for the daemon's other tests")]
mod support;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Once;
use std::thread;

use test_suite::{Client, LONG, Response, Running, configuration};

use crate::support::Daemon;

#[test]
fn a_component_of_componentize_py_is_served() {
    check("python");
}

#[test]
fn a_component_of_jco_is_served() {
    check("javascript");
}

#[test]
fn a_component_of_wit_bindgen_in_c_is_served() {
    check("c");
}

#[test]
fn a_component_of_wstd_is_served() {
    check("rust-wstd");
}

#[test]
fn a_component_of_wasip3_is_served() {
    check("rust-wasip3");
}

/// What each guest of `guests/toolchains/` does, in whatever language.
fn check(toolchain: &str) {
    let Some(component) = component(toolchain) else {
        return;
    };
    let server = Running::start(&Daemon, &configuration::component("guest", &component));
    greets(&mut connect(&server));
    refuses_other_methods(&mut connect(&server));
    echoes_a_large_body(&mut connect(&server));
    keeps_no_state(&mut connect(&server));
    serves_several_at_a_time(&server);
    for level in ["[warn]", "[error]"] {
        assert_eq!(server.log_lines(level), [""; 0]);
    }
}

/// The component, if this machine could make it.
fn component(toolchain: &str) -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let Some(folder) = std::env::var_os("TOOLCHAIN_COMPONENTS") else {
        SAID.call_once(|| {
            say("not run: components of other tool chains: `cargo xtask toolchains` makes them");
        });
        return None;
    };
    let component = PathBuf::from(folder).join(format!("{toolchain}.wasm"));
    if component.is_file() {
        return Some(component);
    }
    say(&format!("not run: {toolchain}: there is no component"));
    None
}

/// Not by `eprintln!`, whose output a test that passes takes along.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn connect(server: &Running) -> Client {
    // An interpreter takes its time where the machine has other things to do.
    server.connect("guest").with_deadline(LONG)
}

#[track_caller]
fn assert_first(response: &Response, body: &[u8]) {
    // No dump of a large body.
    assert!(response.body == body, "{:?}", response.head);
    assert_eq!(response.head.status, 200, "{:?}", response.head);
    assert_eq!(response.head.field("x-requests"), Some("1"));
    assert_eq!(response.end, test_suite::End::Complete);
}

fn greets(client: &mut Client) {
    assert_first(&client.get("/"), b"Hello, world!\n");
}

fn refuses_other_methods(client: &mut Client) {
    client.send("DELETE / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(client.response().head.status, 405);
}

/// 1 MiB, sent and read at the same time, since the guest may answer while it reads.
fn echoes_a_large_body(client: &mut Client) {
    let body: Vec<u8> = (0..1 << 20)
        .map(|n: u32| n.to_le_bytes()[n as usize % 3])
        .collect();
    let mut socket = client.socket().try_clone().unwrap();
    let response = thread::scope(|scope| {
        scope.spawn(|| {
            let length = body.len();
            write!(
                socket,
                "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
            )
            .unwrap();
            socket.write_all(&body).unwrap();
        });
        client.response()
    });
    assert_first(&response, &body);
}

fn keeps_no_state(client: &mut Client) {
    for number in 0..20 {
        let text = format!("request {number}");
        assert_first(&client.post("/", &text), text.as_bytes());
    }
}

fn serves_several_at_a_time(server: &Running) {
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let mut client = connect(server);
                let text = format!("client {number}");
                greets(&mut client);
                assert_first(&client.post("/", &text), text.as_bytes());
            });
        }
    });
}

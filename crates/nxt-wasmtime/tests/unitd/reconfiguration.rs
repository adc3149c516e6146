//! Changes of the configuration while requests are served.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use test_suite::{Client, End, NoAnswer, Response, Running, configuration, until};

use crate::support::{Unitd, assert_no_alert};

#[test]
fn a_reconfiguration_under_load_loses_no_request_silently() {
    let Some(unitd) = Unitd::here() else { return };
    under_load(unitd, |server, load| {
        for n in 1..=5 {
            load.wait_for_answers();
            let (status, answer) = server.put("/config", &hello(n));
            assert_eq!(status, 200, "{answer}");
        }
    });
}

#[test]
fn a_restart_under_load_loses_no_request_silently() {
    let Some(unitd) = Unitd::here() else { return };
    under_load(unitd, |server, load| {
        for _ in 0..5 {
            // Of restarts without a pause, unitd loses requests that no process has seen yet.
            load.wait_for_answers();
            let (status, answer) = server.control("GET", "/control/applications/hello/restart", "");
            assert_eq!(status, 200, "{answer}");
        }
    });
}

fn hello(n: u32) -> String {
    let members = format!(r#""environment": {{"N": "{n}"}}"#);
    configuration::guests_with(&[("hello", &members)])
}

/// Makes the changes while clients ask without a pause. Every request is answered, by the guest or
/// with a 503, and the guest's answers are by far the most.
fn under_load(unitd: Unitd, change: impl FnOnce(&mut Running, &Load)) {
    let mut server = Running::start(&unitd, &hello(0));
    let address = server.address("hello");
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    let load = Load::default();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| load.run(|| Client::connect(address)));
        }
        // However it ends, the load ends too.
        let over = Over(&load.is_over);
        change(&mut server, &load);
        drop(over);
    });
    let (whole, refused) = (load.whole.into_inner(), load.refused.into_inner());
    println!("{whole} requests were served, {refused} were refused with 503");
    assert!(
        whole > 0 && refused <= whole / 10 + 40,
        "{whole}, {refused}"
    );
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    assert_no_alert(&server);
}

/// Clients that ask without a pause, and what they got.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    whole: AtomicU32,
    refused: AtomicU32,
}

impl Load {
    /// Waits until the application serves after what was done before.
    fn wait_for_answers(&self) {
        let before = self.whole.load(Ordering::Relaxed);
        until("requests are served", || {
            self.whole.load(Ordering::Relaxed) > before + 200
        });
    }

    fn run(&self, connect: impl Fn() -> Client) {
        while !self.is_over.load(Ordering::Relaxed) {
            let mut client = connect();
            for _ in 0..10 {
                // A server may close a connection between two requests.
                let Ok(response) = ask(&mut client) else {
                    break;
                };
                assert_eq!(response.end, End::Complete);
                let count = match response.head.status {
                    200 => {
                        response.assert_text("Hello, world!\n");
                        &self.whole
                    }
                    503 => &self.refused,
                    _ => panic!("{response:?}"),
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn ask(client: &mut Client) -> Result<Response, NoAnswer> {
    let sent = client.try_send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    sent.map_err(|_| NoAnswer::Reset)?;
    client.try_response()
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//! Many connections at once.

use test_suite::Running;

use crate::support::{Unitd, assert_no_alert, only_process};

#[test]
fn two_hundred_connections_are_kept_alive_with_requests_on_all() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["echo"]);
    let mut clients: Vec<_> = (0..200).map(|_| server.connect("echo")).collect();
    for round in 0..5 {
        let text = |n: usize| format!("round {round}, connection {n}");
        for (n, client) in clients.iter_mut().enumerate() {
            let text = text(n);
            client.send(format!(
                "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            ));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            client.response().assert_text(&text(n));
        }
    }
    only_process(&server, "echo");
    assert_no_alert(&server);
}

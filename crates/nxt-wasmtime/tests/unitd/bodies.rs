//! Requests with bodies of all sizes.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use test_suite::{Client, LONG, Running};

use crate::support::{Unitd, assert_no_alert};

#[test]
fn uploads_of_any_length_arrive_complete() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["count"]);
    // Around the size of unitd's buffer, above which it keeps a body in a file.
    for length in [
        0,
        1,
        (16 << 10) - 1,
        16 << 10,
        (16 << 10) + 1,
        1 << 20,
        64 << 20,
    ] {
        let mut socket = TcpStream::connect(server.address("count")).unwrap();
        let mut client = Client::over(socket.try_clone().unwrap()).with_deadline(LONG);
        socket.set_write_timeout(Some(LONG)).unwrap();
        // Twice on one connection: what is left of one must not become the next.
        for _ in 0..2 {
            write!(
                socket,
                "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
            )
            .unwrap();
            let piece = vec![b'x'; length.min(1 << 20)];
            let mut rest = length;
            while rest > 0 {
                let now = rest.min(piece.len());
                socket.write_all(&piece[..now]).unwrap();
                rest -= now;
            }
            client.response().assert_text(&format!("{length}\n"));
        }
    }
    assert_no_alert(&server);
}

#[test]
fn uploads_in_chunks_arrive_complete_or_are_refused() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["count"]);
    for chunks in [0, 1, 3, 10, 50, 300] {
        let mut request =
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
        for _ in 0..chunks {
            request += "3e8\r\n";
            request += &"x".repeat(1000);
            request += "\r\n";
        }
        request += "0\r\n\r\n";
        // A new one each time: unitd may take the end of such a body for the next request.
        let mut client = server.connect("count").with_deadline(LONG);
        let is_sent = client.try_send(request).is_ok();
        let response = is_sent.then(|| client.try_response().ok()).flatten();
        match response {
            Some(response) => response.assert_text(&format!("{}\n", chunks * 1000)),
            // Beyond its buffer, Unit 1.35 breaks the connection.
            None => assert!(chunks > 10, "no response to {chunks} chunks"),
        }
    }
    assert_no_alert(&server);
}

#[test]
fn concurrent_uploads_do_not_mix() {
    let Some(unitd) = Unitd::here() else { return };
    let server = Running::guests(&unitd, &["echo"]);
    thread::scope(|scope| {
        for n in 0..8_usize {
            let mut client = server.connect("echo").with_deadline(LONG);
            scope.spawn(move || {
                for round in 1..6 {
                    let text = format!("{n} {round} ").repeat(n * 3000 * round + 1);
                    client.post("/", &text).assert_text(&text);
                }
            });
        }
    });
    assert_no_alert(&server);
}

//! Clients that leave before their response is whole.

use crate::http2::{Http2, empty, request};
use crate::{FrontEnd, Running, until};

/// What the log says of an instance that has no client left.
const CANCELLED: &str = "cancelling the instance";

#[track_caller]
fn assert_cancelled(server: &Running, guest: &str, instances: usize) {
    let line = format!("application \"{guest}\" request ");
    until("the instance is cancelled", || {
        let lines = server.log_lines(CANCELLED);
        lines.iter().filter(|it| it.contains(&line)).count() == instances
    });
    until("nothing is in progress", || server.active(guest) == "0");
}

pub fn a_client_that_leaves_before_its_response_cancels_the_instance(front: &impl FrontEnd) {
    let server = Running::guests(front, &["sleep"]);
    let mut client = server.connect("sleep");
    client.send("GET /?60000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    until("the guest is at work", || server.active("sleep") == "1");
    drop(client);
    assert_cancelled(&server, "sleep", 1);
}

pub fn a_client_that_leaves_a_guest_in_an_endless_loop_cancels_it(front: &impl FrontEnd) {
    let server = Running::guests(front, &["spin"]);
    let mut client = server.connect("spin");
    client.send("GET /?after HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.pieces(7), b"partial");
    assert_eq!(server.active("spin"), "1");
    drop(client);
    assert_cancelled(&server, "spin", 1);
}

pub fn a_client_that_leaves_during_its_response_cancels_the_instance(front: &impl FrontEnd) {
    let server = Running::guests(front, &["download"]);
    let mut client = server.connect("download");
    client.send("GET /?1000000000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    // What it has not read makes this a reset rather than an orderly end.
    drop(client);
    assert_cancelled(&server, "download", 1);
}

pub fn a_client_that_leaves_during_its_request_cancels_the_instance(front: &impl FrontEnd) {
    let server = Running::guests(front, &["count"]);
    let mut client = server.connect("count");
    client.send("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nfour");
    until("the guest is at work", || server.active("count") == "1");
    drop(client);
    until("nothing is in progress", || server.active("count") == "0");
}

pub fn a_stream_that_is_reset_cancels_only_its_instance(front: &impl FrontEnd) {
    let server = Running::guests(front, &["sleep"]);
    let http2 = Http2::connect(server.address("sleep"));
    let send = |path| {
        let request = request("GET", path).body(empty()).unwrap();
        http2.sender().send_request(request)
    };
    let left = send("/?60000");
    let kept = send("/?1500");
    until("both guests are at work", || server.active("sleep") == "2");
    drop(left);
    until("one is left", || server.active("sleep") == "1");
    let response = http2.wait(kept).unwrap();
    let answer = http2.wait(crate::http2::read(response));
    assert_eq!(answer.summary(), (200, "slept\n".to_owned(), true));
    assert_cancelled(&server, "sleep", 1);
}

pub fn a_connection_that_ends_cancels_all_of_its_streams(front: &impl FrontEnd) {
    let server = Running::guests(front, &["sleep"]);
    let http2 = Http2::connect(server.address("sleep"));
    let requests: Vec<_> = (0..5)
        .map(|_| {
            let request = request("GET", "/?60000").body(empty()).unwrap();
            http2.sender().send_request(request)
        })
        .collect();
    until("all guests are at work", || server.active("sleep") == "5");
    drop((requests, http2));
    assert_cancelled(&server, "sleep", 5);
}

//! What one request may take.

use std::time::{Duration, Instant};

use crate::{FrontEnd, Running, configuration, until};

pub fn a_response_that_does_not_start_in_time_is_a_504(front: &impl FrontEnd) {
    let configuration = configuration::guests_with(&[("sleep", &front.timeout(1))]);
    let server = Running::start(front, &configuration);
    let mut client = server.connect("sleep");
    let started = Instant::now();
    client.get("/?60000").assert_page(504);
    assert!(started.elapsed() >= Duration::from_secs(1));
    until("the guest is gone", || server.active("sleep") == "0");
    // The connection goes on.
    client.get("/?10").assert_text("slept\n");
}

pub fn a_response_that_has_started_may_take_its_time(front: &impl FrontEnd) {
    let configuration = configuration::guests_with(&[("echo", &front.timeout(1))]);
    let server = Running::start(front, &configuration);
    let mut client = server.connect("echo");
    let started = Instant::now();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status, 200);
    while started.elapsed() < Duration::from_millis(1500) {
        client.send("3\r\nabc\r\n");
        assert_eq!(client.pieces(3), b"abc");
        std::thread::sleep(Duration::from_millis(100));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.rest().2, crate::End::Complete);
}

pub fn each_application_has_its_own_limits(front: &impl FrontEnd) {
    let file = test_components::guest("sleep");
    let server = Running::start(
        front,
        &configuration::applications_of(&[
            (
                "short",
                configuration::application(&file, &front.timeout(1)),
            ),
            ("long", configuration::application(&file, "")),
        ]),
    );
    let mut long = server.connect("long");
    long.send("GET /?1500 HTTP/1.1\r\nhost: a\r\n\r\n");
    server.connect("short").get("/?1500").assert_page(504);
    long.response().assert_text("slept\n");
}

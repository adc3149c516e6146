//! Limits of requests: time, CPU time, memory, handles, concurrency.

use std::io::Read as _;
use std::time::{Duration, Instant};

use crate::{Client, End, FrontEnd, Need, Options, Running, World, configuration, until};

pub fn a_response_that_exceeds_the_timeout_is_a_504(front: &impl FrontEnd) {
    let configuration = configuration::guests_with(&[("sleep", &front.timeout(1))]);
    let server = Running::start(front, &configuration);
    let mut client = server.connect("sleep");
    let started = Instant::now();
    client.get("/?60000").assert_page(504);
    assert!(started.elapsed() >= Duration::from_secs(1));
    until("the guest is gone", || server.active("sleep") == "0");
    // The connection is kept alive.
    client.get("/?10").assert_text("slept\n");
}

pub fn the_timeout_ends_with_the_head_of_the_response(front: &impl FrontEnd) {
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
    assert_eq!(client.rest().2, End::Complete);
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

/// A guest with these options, as the application of its name.
fn limited(front: &impl FrontEnd, guest: &str, options: &Options<'_>) -> Running {
    let configuration = configuration::guests_with(&[(guest, &front.options(options))]);
    Running::start(front, &configuration)
}

fn computing_for(seconds: f64) -> Options<'static> {
    Options {
        execution_timeout: Some(seconds),
        ..Options::default()
    }
}

pub fn a_guest_that_computes_too_long_before_its_response_is_a_504(front: &impl FrontEnd) {
    let server = limited(front, "compute", &computing_for(0.1));
    let mut client = server.connect("compute");
    client.get("/?before=60000").assert_page(504);
    until("the guest is gone", || server.active("compute") == "0");
    client
        .get("/?before=1&after=1")
        .assert_text("computing\ncomputed\n");
}

pub fn a_guest_that_computes_too_long_within_its_response_is_cut_off(front: &impl FrontEnd) {
    let server = limited(front, "compute", &computing_for(0.1));
    let response = server.connect("compute").get("/?after=60000");
    if front.lacks(Need::ExactCutOffs).is_none() {
        assert_eq!(response.head.status, 200, "{response:?}");
        assert_eq!(response.text(), "computing\n");
    }
    assert_ne!(response.end, End::Complete, "{response:?}");
    until("the guest is gone", || server.active("compute") == "0");
    server.wait_for_log("computed for longer than 0.1 seconds");
}

pub fn a_guest_that_waits_uses_no_cpu_time(front: &impl FrontEnd) {
    let server = limited(front, "sleep", &computing_for(0.2));
    server.connect("sleep").get("/?600").assert_text("slept\n");
}

pub fn an_upload_uses_no_cpu_time(front: &impl FrontEnd) {
    let server = limited(front, "count", &computing_for(0.2));
    let mut client = server.connect("count");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 600\r\n\r\n");
    for _ in 0..60 {
        client.send("0123456789");
        std::thread::sleep(Duration::from_millis(10));
    }
    client.response().assert_text("600\n");
}

pub fn memory_grows_to_the_limit_and_not_beyond(front: &impl FrontEnd) {
    let memory = Options {
        memory: Some(32 << 20),
        ..Options::default()
    };
    let server = limited(front, "grow", &memory);
    let mut client = server.connect("grow");
    client.get("/?16").assert_text("grown\n");
    // `memory.grow` has failed, as on a machine without memory, and the guest continues.
    client.get("/?40").assert_text("refused\n");
    client.get("/?16").assert_text("grown\n");
}

pub fn handles_are_limited_to_1024_at_a_time(front: &impl FrontEnd) {
    let server = Running::guests(front, &["hoard"]);
    let mut client = server.connect("hoard");
    // The guest has some for its request and its response besides.
    client.get("/?handles=1000").assert_text("taken\n");
    client.get("/?handles=1024").assert_page(500);
    server.wait_for_log("the guest trapped");
    client.get("/?handles=1000").assert_text("taken\n");
}

/// Each value counts with some bytes more than it has.
pub fn a_set_of_fields_is_limited_to_64_kib(front: &impl FrontEnd) {
    let server = Running::guests(front, &["hoard"]);
    let mut client = server.connect("hoard");
    client.get("/?fields=65000").assert_text("taken\n");
    let too_many = client.get("/?fields=65536");
    if front.world() == World::Wasi02 {
        // `header-error` has no case for it.
        too_many.assert_page(500);
        server.wait_for_log("the guest trapped");
    } else {
        too_many.assert_text("refused\n");
    }
    client.get("/?fields=65000").assert_text("taken\n");
}

fn one_at_a_time(front: &impl FrontEnd) -> Running {
    let one = Options {
        concurrency: Some(1),
        ..Options::default()
    };
    limited(front, "sleep", &one)
}

/// A client whose request is at work for so many milliseconds.
fn at_work(server: &Running, milliseconds: u32) -> Client {
    let mut client = server.connect("sleep");
    client.send(format!("GET /?{milliseconds} HTTP/1.1\r\nhost: a\r\n\r\n"));
    until("the guest sleeps", || server.active("sleep") == "1");
    client
}

pub fn requests_beyond_the_concurrency_limit_wait(front: &impl FrontEnd) {
    let server = one_at_a_time(front);
    let mut first = at_work(&server, 800);
    server.connect("sleep").get("/?1").assert_text("slept\n");
    // It has waited: the first one's answer is there.
    let mut first = first.socket().try_clone().unwrap();
    first
        .set_read_timeout(Some(Duration::from_millis(400)))
        .unwrap();
    assert!(first.read(&mut [0; 1]).is_ok_and(|length| length == 1));
}

pub fn requests_that_wait_too_long_get_503_with_retry_after(front: &impl FrontEnd) {
    let server = one_at_a_time(front);
    let mut first = at_work(&server, 6000);
    let mut second = server.connect("sleep");
    let refused = second.get("/?1");
    refused.assert_page(503);
    assert_eq!(refused.head.field("retry-after"), Some("1"));
    first.response().assert_text("slept\n");
    second.get("/?1").assert_text("slept\n");
}

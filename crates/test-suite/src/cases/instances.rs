//! How many requests an instance serves, for those who ask for more than one.

use std::collections::BTreeSet;

use crate::{Client, FrontEnd, Options, Running, World, configuration, until};

fn remembering(front: &impl FrontEnd, reuse: u32, concurrency: u32) -> Running {
    let options = front.options(&Options {
        instances: Some((reuse, concurrency)),
        ..Options::default()
    });
    Running::start(
        front,
        &configuration::guests_with(&[("remember", &options)]),
    )
}

/// How many requests the instance says it has seen.
fn seen(client: &mut Client, target: &str) -> u32 {
    let response = client.get(target);
    assert_eq!(response.head.status, 200, "{response:?}");
    response.text().trim().parse().unwrap()
}

pub fn by_default_no_instance_sees_two_requests(front: &impl FrontEnd) {
    let server = Running::guests(front, &["remember"]);
    let mut client = server.connect("remember");
    for _ in 0..5 {
        assert_eq!(seen(&mut client, "/"), 1);
    }
}

pub fn an_instance_is_reused_up_to_its_limit(front: &impl FrontEnd) {
    let server = remembering(front, 3, 1);
    let mut client = server.connect("remember");
    let counts: Vec<u32> = (0..9).map(|_| seen(&mut client, "/")).collect();
    assert_eq!(counts, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
}

pub fn a_trap_ends_the_instance(front: &impl FrontEnd) {
    let server = remembering(front, 100, 1);
    let mut client = server.connect("remember");
    assert_eq!(seen(&mut client, "/"), 1);
    assert_eq!(seen(&mut client, "/"), 2);
    client.get("/?trap").assert_page(500);
    assert_eq!(seen(&mut client, "/"), 1);
}

pub fn an_instance_serves_one_request_at_a_time(front: &impl FrontEnd) {
    let server = remembering(front, 100, 1);
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect("remember")).collect();
    for client in &mut clients {
        client.send("GET /?sleep=300 HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    for client in &mut clients {
        client.response().assert_text("1\n");
    }
}

/// Asks for a response in so many milliseconds, and waits until so many requests are at work.
fn begin(server: &Running, milliseconds: u32, active: u32) -> Client {
    let mut client = server.connect("remember");
    client.send(format!(
        "GET /?sleep={milliseconds} HTTP/1.1\r\nhost: a\r\n\r\n"
    ));
    until("it is at work", || {
        server.active("remember") == active.to_string()
    });
    client
}

/// Those of WASI 0.2 have no way to do that, and serve one after the other.
pub fn concurrent_requests_share_an_instance_if_allowed(front: &impl FrontEnd) {
    let server = remembering(front, 100, 4);
    let mut clients: Vec<Client> = (1..=4).map(|it| begin(&server, 3000, it)).collect();
    let counts: BTreeSet<String> = clients
        .iter_mut()
        .map(|client| client.response().text().trim().to_owned())
        .collect();
    let expected: &[&str] = match front.world() {
        World::Wasi02 => &["1"],
        World::Wasi03 => &["1", "2", "3", "4"],
    };
    assert!(counts.iter().eq(expected), "{counts:?}");
}

pub fn a_trap_fails_only_the_requests_of_its_instance(front: &impl FrontEnd) {
    let server = remembering(front, 2, 2);
    // Two share an instance, and the third has another.
    let mut clients: Vec<Client> = (1..=3).map(|it| begin(&server, 3000, it)).collect();
    server.connect("remember").get("/?trap").assert_page(500);
    for client in &mut clients[..2] {
        assert_eq!(client.response().head.status, 200);
    }
    let third = clients[2].response();
    match front.world() {
        World::Wasi02 => assert_eq!(third.head.status, 200),
        World::Wasi03 => third.assert_page(500),
    }
    assert_eq!(server.connect("remember").get("/").head.status, 200);
}

pub fn requests_beyond_the_concurrency_of_instances_are_served_in_turn(front: &impl FrontEnd) {
    let server = remembering(front, 1000, 8);
    let mut clients: Vec<Client> = (0..64).map(|_| server.connect("remember")).collect();
    for round in 0..4 {
        for client in &mut clients {
            client.send("GET /?sleep=5 HTTP/1.1\r\nhost: a\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.response().head.status, 200, "round {round}");
        }
    }
    until("all are done", || server.active("remember") == "0");
}

pub fn execution_timeout_applies_to_each_request_of_a_shared_instance(front: &impl FrontEnd) {
    let options = front.options(&Options {
        instances: Some((1000, 8)),
        execution_timeout: Some(0.5),
        ..Options::default()
    });
    let configuration = configuration::guests_with(&[("compute", &options)]);
    let server = Running::start(front, &configuration);
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect("compute")).collect();
    for client in &mut clients {
        client.send("GET /?before=50&after=50 HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    for client in &mut clients {
        client.response().assert_text("computing\ncomputed\n");
    }
    // A request that is alone in its instance gets its own failure.
    server
        .connect("compute")
        .get("/?before=60000")
        .assert_page(504);
}

//! Isolation: nothing that a guest does affects other requests, its own application's included.

use std::thread;
use std::time::{Duration, Instant};

use crate::http2::{Http2, empty, request};
use crate::{End, FrontEnd, Need, Running, Watch, configuration, until};

pub fn each_request_has_a_new_instance(front: &impl FrontEnd) {
    let server = Running::guests(front, &["counter"]);
    for _ in 0..3 {
        let mut client = server.connect("counter");
        for _ in 0..3 {
            client.get("/").assert_text("1\n");
        }
    }
    if let Some(mut http2) = Http2::offered(front, &server, "counter") {
        for _ in 0..3 {
            assert_eq!(http2.get("/").body, b"1\n");
        }
    }
}

pub fn no_failure_disturbs_other_requests_or_the_process(front: &impl FrontEnd) {
    let failing = [
        ("trap", "/"),
        ("no_response", "/"),
        ("exit", "/?before"),
        ("exit", "/?after"),
        ("error_code", "/?connection-refused"),
        ("error_code", "/?internal-error"),
        ("trap_after_headers", "/?20"),
        ("trap_after_headers", "/?20&length=100"),
        ("trap_after_headers", "/?20&finished"),
        ("unfinished", "/?leak&20"),
        ("unfinished", "/?drop&20"),
        ("short_length", "/?finish"),
        ("short_length", "/?drop&20"),
        ("long_length", "/?20"),
        ("recurse", "/"),
        ("memory_bomb", "/"),
        ("status", "/?103"),
    ];
    let failing = failing.into_iter();
    let failing: Vec<_> = failing
        .filter(|(guest, _)| front.world().has(guest))
        .collect();
    let mut names: Vec<&str> = failing.iter().map(|(guest, _)| *guest).collect();
    names.dedup();
    names.extend(["echo", "sleep"]);
    let mut server = Running::guests(front, &names);
    let mut echo = server.connect("echo");
    echo.post("/", "hello").assert_text("hello");
    let errors = server.errors();

    // One request that exchanges data all the time, if the front end can stream, and one that sleeps.
    let streams = front.lacks(Need::StreamedRequests).is_none();
    if streams {
        echo.send("POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(echo.head().status, 200);
    }
    let mut sleep = server.connect("sleep");
    sleep.send("GET /?2000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    until("they are at work", || {
        server.active("sleep") == "1" && (!streams || server.active("echo") == "1")
    });

    for (guest, target) in failing {
        let mut client = server.connect(guest);
        client.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        // Other cases check the response.
        let _ = client.try_response();
        if streams {
            echo.send("5\r\nhello\r\n");
            assert_eq!(echo.pieces(5), b"hello", "after {guest}{target}");
        } else {
            echo.post("/", "hello").assert_text("hello");
        }
    }
    if streams {
        echo.send("0\r\n\r\n");
        assert_eq!(echo.rest(), (vec![], vec![], End::Complete));
    }
    sleep.response().assert_text("slept\n");
    assert!(server.is_alive());
    // unitd would start another process, and say so.
    assert_eq!(server.log_lines("exited on signal"), [""; 0]);
    assert_eq!(
        server.errors(),
        errors,
        "something was written to standard error instead of the log"
    );
}

pub fn no_failure_disturbs_the_requests_of_its_own_application(front: &impl FrontEnd) {
    let configuration = configuration::guests_with(&[("failing", &front.timeout(6))]);
    let server = Running::start(front, &configuration);
    server
        .connect("failing")
        .get("/?works")
        .assert_text("at work\ndone\n");
    let pids = server.pids();
    for (failure, status, milliseconds) in [
        ("traps", 500, 1000),
        ("exits", 500, 1000),
        ("is-silent", 500, 1000),
        ("has-an-error", 500, 1000),
        ("is-short", 500, 1000),
        ("hoards", 500, 3000),
        ("recurses", 500, 1000),
        ("spins", 504, 8000),
    ] {
        let mut other = server.connect("failing");
        other.send(format!(
            "GET /?works&{milliseconds} HTTP/1.1\r\nhost: localhost\r\n\r\n"
        ));
        assert_eq!(other.head().status, 200);
        let mut client = server.connect("failing");
        client.send(format!(
            "GET /?{failure} HTTP/1.1\r\nhost: localhost\r\n\r\n"
        ));
        // On a busy machine this guest may be interrupted between its head and its end.
        let may_be_cut_off = failure == "is-short";
        match client.try_response() {
            Ok(response) if may_be_cut_off && response.head.status == 200 => {
                assert_ne!(response.end, End::Complete);
            }
            Ok(response) => response.assert_page(status),
            Err(_) => assert!(may_be_cut_off && front.lacks(Need::ExactCutOffs).is_some()),
        }
        let (body, _, end) = other.rest();
        let whole = &b"at work\ndone\n"[..];
        assert_eq!((&body[..], end), (whole, End::Complete), "{failure}");
        assert_eq!(server.pids(), pids, "{failure}");
    }
}

pub fn a_failing_stream_does_not_disturb_others_of_its_connection(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap_after_headers"]);
    let mut http2 = Http2::connect(server.address("trap_after_headers"));
    let long = request("GET", "/?finished&300").body(empty()).unwrap();
    let long = http2.sender().send_request(long);
    for _ in 0..3 {
        assert!(!http2.get("/?20").whole);
    }
    let response = http2.wait(long).unwrap();
    let (status, body, whole) = http2.read(response).summary();
    assert_eq!((status, body.as_str(), whole), (200, "partial", true));
}

pub fn guests_in_endless_loops_do_not_delay_other_requests(front: &impl FrontEnd) {
    let long = front.timeout(60);
    let server = Running::start(
        front,
        &configuration::guests_with(&[("spin", &long), ("hello", "")]),
    );
    // More than there are processors.
    let count = 2 * thread::available_parallelism().map_or(4, usize::from);
    let mut spinning: Vec<_> = (0..count).map(|_| server.connect("spin")).collect();
    for client in &mut spinning {
        client.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    until("all of them spin", || {
        server.active("spin") == count.to_string()
    });
    let started = Instant::now();
    let mut client = server.connect("hello");
    for _ in 0..10 {
        client.get("/").assert_text("Hello, world!\n");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "10 requests took {took:?}");
    drop(spinning);
    if front.lacks(Need::Cancellation).is_none() {
        until("all of them are cancelled", || server.active("spin") == "0");
    }
}

pub fn a_guest_that_allocates_without_end_is_stopped_and_its_memory_freed(front: &impl FrontEnd) {
    let server = Running::guests(front, &["memory_bomb", "hello"]);
    server
        .connect("hello")
        .get("/")
        .assert_text("Hello, world!\n");
    let watch = Watch::start(&server.pids());
    thread::scope(|scope| {
        let bomb = scope.spawn(|| server.connect("memory_bomb").get("/").assert_page(500));
        let mut client = server.connect("hello");
        while !bomb.is_finished() {
            client.get("/").assert_text("Hello, world!\n");
        }
    });
    // What one instance may have, and some for the host.
    watch.assert_below((256 + 64) << 20);
    until("the memory is given back", || watch.now_above() < 64 << 20);
}

pub fn endless_recursion_is_only_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["recurse", "hello"]);
    let mut client = server.connect("recurse");
    for _ in 0..3 {
        client.get("/").assert_page(500);
        server
            .connect("hello")
            .get("/")
            .assert_text("Hello, world!\n");
    }
}

pub fn concurrent_requests_do_not_mix(front: &impl FrontEnd) {
    let server = Running::guests(front, &["echo"]);
    thread::scope(|scope| {
        for thread in 0..8 {
            let mut client = server.connect("echo");
            scope.spawn(move || {
                for n in 0..20 {
                    let text = format!("thread {thread}, request {n}; ").repeat(100);
                    client.post("/", &text).assert_text(&text);
                }
            });
        }
    });
}

//! The counters on a listener: `"pass": "metrics"`.

use std::io::Read as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use test_suite::{Client, DEADLINE, Running, Socket as _, until};

use crate::support::{Daemon, LONG, Process, daemon};

const CONFIGURATION: &str = r#"{
    "listeners": {
        "{direct}": {"pass": "metrics"},
        "{routed}": {"pass": "routes"}
    },
    "routes": [
        {"match": {"uri": "/m*"},
         "action": {"pass": "metrics", "response_headers": {"X-From": "$uri"}}},
        {"match": {"uri": "/variable/*"}, "action": {"pass": "$arg_pass"}},
        {"action": {"share": "/nowhere$uri", "fallback": {"pass": "metrics"}}}
    ]
}"#;

#[test]
fn a_metrics_listener_serves_only_metrics() {
    let server = Running::start(&Daemon, CONFIGURATION);
    let mut client = server.connect("direct");
    for target in [
        "/",
        "/metrics",
        "/status/metrics",
        "/config",
        "/certificates",
        "/config/",
    ] {
        let response = client.get(target);
        assert_eq!(response.head.status, 200);
        let text = response.text();
        assert!(
            text.starts_with("# HELP wasmtime_unitd_build_info "),
            "{text}"
        );
        assert!(
            text.contains("\nwasmtime_unitd_connections_accepted_total "),
            "{text}"
        );
        let content_type = response.head.field("content-type");
        assert_eq!(
            content_type,
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
    }
    client.get("/../config").assert_page(400);
    for method in ["PUT", "POST", "DELETE", "OPTIONS"] {
        let mut client = server.connect("direct");
        client.send(format!(
            "{method} /config HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        ));
        let head = client.response().head;
        assert_eq!((head.status, head.field("allow")), (405, Some("GET, HEAD")));
    }
    let mut client = server.connect("direct");
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status, 200);
    let length: usize = head.field("content-length").unwrap().parse().unwrap();
    assert!(length > 1000, "{length}");
}

#[test]
fn a_route_passes_to_metrics_only_by_name() {
    let server = Running::start(&Daemon, CONFIGURATION);
    let mut client = server.connect("routed");
    let response = client.get("/m");
    assert_eq!(
        (response.head.status, response.head.field("x-from")),
        (200, Some("/m"))
    );
    let response = client.get("/fallback");
    assert!(response.text().starts_with("# HELP "), "{response:?}");
    // A client does not get to choose them.
    client.get("/variable/?pass=metrics").assert_page(404);
}

#[test]
fn metrics_on_a_listener_are_rendered_once_per_second() {
    let server = Running::start(&Daemon, CONFIGURATION);
    let requests = |client: &mut Client| {
        let response = client.get("/");
        let text = response.text();
        let line = text
            .lines()
            .find_map(|it| it.strip_prefix("wasmtime_unitd_requests_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let mut client = server.connect("direct");
    let begun = Instant::now();
    let counted: Vec<_> = (0..200).map(|_| requests(&mut client)).collect();
    let mut texts = counted.clone();
    texts.dedup();
    let most = begun.elapsed().as_secs() + 2;
    assert!(texts.len() as u64 <= most, "{counted:?}");
    until("they are rendered again", || requests(&mut client) >= 200);
}

#[test]
fn slow_clients_of_a_proxied_control_socket_do_not_delay_the_operator() {
    let mut server = Running::idle(&Daemon);
    let socket = server.control_socket().display().to_string();
    let configuration = format!(
        r#"{{"listeners": {{"{{main}}": {{"pass": "routes"}}}},
            "routes": [{{"action": {{"proxy": "http://unix:{socket}"}}}}]}}"#
    );
    let (status, answer) = server.put("/config", &configuration);
    assert_eq!(status, 200, "{answer}");
    let warning = "/routes/0/action/proxy: this is the server's own control socket: every client \
                   of this listener controls the server; use \\\"pass\\\": \\\"metrics\\\" to serve metrics";
    assert!(answer.contains(warning), "{answer}");
    server.wait_for_log("/routes/0/action/proxy: this is the server's own control socket");

    let mut slow: Vec<_> = (0..140).map(|_| server.connect("main")).collect();
    for client in &mut slow {
        client.send("PUT /config HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n{");
    }
    server.wait_for_log("limit of control connections through listeners (8) reached");
    for _ in 0..9 {
        let begun = Instant::now();
        assert_eq!(server.control("GET", "/config", "").0, 200);
        assert_eq!(server.get("/status/applications"), "{}");
        assert!(begun.elapsed() < DEADLINE);
    }
    assert_eq!(server.put("/config/settings", "{}").0, 200);
    // Those over the limit are answered with 503; eight may continue.
    let mut refused = 0;
    for client in &mut slow {
        let socket = client.socket();
        socket.bound(Duration::from_millis(200)).unwrap();
        let mut line = [0; 12];
        if socket.read_exact(&mut line).is_ok() {
            assert!(
                matches!(&line, b"HTTP/1.1 502" | b"HTTP/1.1 503"),
                "{line:?}"
            );
            refused += 1;
        }
    }
    assert_eq!(refused, 132);
    drop(slow);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(LONG).code(), Some(0));
}

#[test]
fn check_warns_of_a_proxy_to_the_control_socket() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let configuration = r#"{"upstreams": {"u": {"servers": {"unix:/x/control.sock": {}}}}}"#;
    std::fs::write(&file, configuration).unwrap();
    for (control, warns) in [
        ("unix:/x/control.sock", true),
        ("unix:/y/control.sock", false),
    ] {
        let mut command = daemon();
        let ended = Process::spawn(command.arg("check").arg(&file).args(["--control", control]));
        let ended = ended.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let warning = "warning: /upstreams/u/servers: this is the server's own control socket";
        assert_eq!(ended.errors.contains(warning), warns, "{ended:?}");
    }
}
